"""The notebook: its outputs on made-up released files, its failures, and its script without a kernel."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from scripts.write_notebook import NOTEBOOK, SCRIPT, execute, read_script, write_released_files
from tests.support.command_line import TEMPORARY, assert_three_parts
from tests.support.grid import blank_weights
from tests.support.tiny_datasets import write_human36m

MOST_BYTES = 100_000


def outputs(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the text below each cell of code, without colours."""
    texts = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            parts = [o.get("text") or o.get("data", {}).get("text/markdown", "") for o in cell.outputs]
            texts.append(re.sub(r"\x1b\[[\d;]*m", "", "".join(parts)))
    return texts


def sources(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_notebook_and_script_are_the_same() -> None:
    committed = nbformat.read(NOTEBOOK, as_version=4)
    assert sources(committed) == sources(read_script()), "run python -m scripts.write_notebook"


def test_the_committed_outputs_are_small_and_name_no_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    assert not re.search(r"/(tmp|home|root|work|usr)/", text)
    assert all(outputs(nbformat.read(NOTEBOOK, as_version=4))), "every cell shows something"


def test_it_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a builder of engines: no cell shows any."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tensorrt_rtx'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TMPDIR", TEMPORARY)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(
        "scripts.write_notebook.stand_in_weights", blank_weights
    )  # those of S, which are only inspected
    write_released_files(tmp_path / "weights")
    write_human36m(tmp_path / "weights/h36m", subjects=(9, 11), frames=(0,), actions=(2, 3))
    notebook = read_script()
    execute(notebook, tmp_path, quick=True)
    setting, version, inspection, export, evaluation, bench, report, bundles = outputs(notebook)
    assert setting.startswith("checkpoints: weights, results: build, GPU: ")
    assert version.startswith("convnextpose-deploy ")
    assert re.search(r"ConvNeXtPose_XS +unpacked folder +XS-atto +agrees", inspection)
    assert re.search(r"ConvNeXtPose_L \(1\)\.tar +torch zip +XS, S +says L", inspection)
    assert "weights: weights/ConvNeXtPose_XS (found in weights/" in export
    assert "fp32: parity passed" in export
    assert "MPJPE" in evaluation
    assert "onnxruntime fp32" in bench
    assert "details: build/report/report.html" in report
    assert "| onnxruntime fp32<br>" in report
    assert "Human3.6M, protocol 2" in report
    assert bundles.endswith("bundles.zip: XS-bundle.sha256, XS-bundle.zip, report.html\n")
    assert (tmp_path / "build/XS/onnx/XS-fp32.onnx").is_file()
    with zipfile.ZipFile(tmp_path / "bundles.zip") as archive, archive.open("XS-bundle.zip") as bundle:
        assert "XS-bundle/verify.py" in zipfile.ZipFile(bundle).namelist()


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/ConvNeXtPose_XS.tar").write_text("<!DOCTYPE html><html>")
    return tmp_path


def test_a_command_that_fails_stops_the_notebook_with_its_own_message(damaged: Path) -> None:
    notebook = read_script()
    with pytest.raises(CellExecutionError):
        execute(notebook, damaged, quick=True)
    texts = outputs(notebook)
    assert "error: no checkpoint in weights can be read" in texts[2]
    assert not any(texts[3:])
    assert not any("Traceback" in "".join(o.get("traceback", "")) for c in notebook.cells for o in c.get("outputs", ()))


def test_the_script_ends_with_the_exit_code_of_the_command(damaged: Path) -> None:
    run = subprocess.run([sys.executable, SCRIPT], cwd=damaged, capture_output=True, text=True, check=False)
    assert run.stderr == ""
    run.stderr = run.stdout
    assert_three_parts(run, 2)
    assert "a web page" in run.stdout


def test_only_inconclusive_results_do_not_stop_it(capsys: pytest.CaptureFixture[str]) -> None:
    settings = next(cell.source for cell in read_script().cells if cell.cell_type == "code")
    names: dict[str, Any] = {}
    exec(settings, names)
    names["run"](sys.executable, "-c", "print('a word'); raise SystemExit(3)")
    assert "a word" in capsys.readouterr().out
    for code in (1, 2, 4):
        with pytest.raises(SystemExit) as stop:
            names["run"](sys.executable, "-c", f"raise SystemExit({code})")
        assert stop.value.code == code
