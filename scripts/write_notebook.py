"""Write ``notebooks/convnextpose.ipynb`` from its script, with the outputs of a run on made-up released files.

Run as ``python -m scripts.write_notebook`` after a change of the script, or of what a command prints.
"""

import os
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

import jupytext
import nbformat
import torch
from nbclient import NotebookClient

from export.common.files import PROJECT
from export.model.config import load_config
from export.synthetic.random_weights import stand_in_weights

SCRIPT = PROJECT / "notebooks/convnextpose.py"
NOTEBOOK = SCRIPT.with_suffix(".ipynb")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
TIMEOUT_S = 600
"""Time for one cell."""


def read_script() -> nbformat.NotebookNode:
    """Return the script as a notebook without outputs, with a number as the id of each cell."""
    notebook = jupytext.read(SCRIPT, fmt="py:percent")
    notebook.metadata = {"kernelspec": KERNEL}
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
    return notebook


def write_released_files(folder: Path) -> None:
    """Write two made-up files: XS with the weights of the demo, unpacked as Kaggle does; S under the name of L."""
    folder.mkdir()
    packed = folder / "ConvNeXtPose_XS.tar"
    torch.save(torch.load(PROJECT / "demo/XS-atto-demo.pth", weights_only=True), packed)
    shutil.unpack_archive(packed, folder / "ConvNeXtPose_XS", "zip")
    packed.unlink()
    weights = stand_in_weights(load_config("S").architecture)
    torch.save({"epoch": 67, "network": weights}, folder / "ConvNeXtPose_L (1).tar")


def execute(notebook: nbformat.NotebookNode, folder: Path, *, quick: bool) -> None:
    """Execute a notebook in a folder, for XS only.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the outputs up to there are in the notebook.
    """
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name=KERNEL["name"],
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
    )
    with patch.dict(os.environ, MODELS="XS", QUICK="1" if quick else ""):
        client.execute()


if __name__ == "__main__":
    executed = read_script()
    with tempfile.TemporaryDirectory() as place:
        write_released_files(Path(place) / "weights")
        execute(executed, Path(place), quick=False)
    nbformat.write(executed, NOTEBOOK)
