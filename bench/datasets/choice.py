"""Datasets by their names on the command line."""

from pathlib import Path

from bench.datasets.coco import open_coco
from bench.datasets.drawn import DrawnFigures
from bench.datasets.human36m import open_human36m
from bench.datasets.mupots import open_mupots
from bench.datasets.protocol import Dataset
from bench.sessions.exported import ExportFolder
from export.common.errors import BadInput

DATASETS = ("drawn", "coco", "human36m", "mupots")


def open_dataset(name: str, folder: Path | None, protocol: int, count: int, exported: ExportFolder) -> Dataset:
    """Open a dataset for the model's joints and input size.

    Raises:
        BadInput: no such dataset, no folder, or a folder with another layout.
    """
    size = exported.volume.input_size
    if name == "drawn" and folder is not None:
        raise BadInput("drawn figures need no folder", f"--data {folder}", "leave --data out, or name a --dataset")
    if name == "drawn":
        return DrawnFigures(count, size)
    if name not in DATASETS:
        raise BadInput("unknown dataset", name, f"choose from {', '.join(DATASETS)}")
    if folder is None:
        raise BadInput(f"{name} needs a folder", "no --data", "name its folder with --data")
    if name == "coco":
        return open_coco(folder, exported.joint_set, size)
    if name == "mupots":
        return open_mupots(folder, size)
    if protocol not in (1, 2):
        raise BadInput("Human3.6M has protocols 1 and 2", str(protocol), "give --protocol 1 or 2")
    return open_human36m(folder, 1 if protocol == 1 else 2, size)


def report_name(name: str, protocol: int, flip: bool) -> str:
    """Return the name of an evaluation's files."""
    return name + (f"-p{protocol}" if name == "human36m" else "") + ("-flip" if flip else "")
