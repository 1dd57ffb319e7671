"""Datasets by their names on the command line."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from bench.datasets.coco import open_coco
from bench.datasets.drawn import DrawnFigures
from bench.datasets.human36m import open_human36m
from bench.datasets.images import PIXELS
from bench.datasets.protocol import Dataset
from bench.sessions.exported import ExportFolder
from export.common.errors import BadInput

DATASETS = ("drawn", "coco", "human36m")


@dataclass(frozen=True)
class DatasetOptions:
    """Options of a user."""

    name: str
    folder: Path | None
    protocol: int
    count: int
    pixels: str | None
    """None: found by the images' sizes."""


def open_dataset(options: DatasetOptions, exported: ExportFolder) -> Dataset:
    """Open a dataset for the model's joints and input size.

    Raises:
        BadInput: no such dataset, no folder, or a folder with another layout.
    """
    name, folder, size = options.name, options.folder, exported.volume.input_size
    if name == "drawn" and (folder is not None or options.pixels is not None):
        value = f"--data {folder}" if folder is not None else f"--pixels {options.pixels}"
        raise BadInput("drawn figures need no folder", value, "leave it out, or name a --dataset")
    if name == "drawn":
        return DrawnFigures(options.count, size)
    if name not in DATASETS:
        raise BadInput("unknown dataset", name, f"choose from {', '.join(DATASETS)}")
    if folder is None:
        raise BadInput(f"{name} needs a folder", "no --data", "name its folder with --data")
    pixels = next((kind for kind in PIXELS if kind == options.pixels), None)
    if pixels is None and options.pixels is not None:
        raise BadInput("unknown kind of pixels", options.pixels, f"give --pixels {' or '.join(PIXELS)}")
    if name == "coco":
        return open_coco(folder, exported.joint_set, size, pixels)
    if options.protocol not in (1, 2):
        raise BadInput("Human3.6M has protocols 1 and 2", str(options.protocol), "give --protocol 1 or 2")
    return open_human36m(folder, 1 if options.protocol == 1 else 2, size, pixels)


def report_name(options: DatasetOptions, dataset: Dataset, flip: bool) -> str:
    """Return the name of an evaluation's files: two datasets of one kind never share it."""
    parts = [options.name]
    if options.name == "human36m":
        parts.append(f"p{options.protocol}")
    if options.folder is not None:
        identity = json.dumps(dataset.identity, sort_keys=True).encode()
        folder = re.sub(r"[^A-Za-z0-9._]+", "-", options.folder.resolve().name)[:40].strip("-")
        parts += [folder, hashlib.sha256(identity).hexdigest()[:8]]
    return "-".join((*filter(None, parts), *(["flip"] if flip else [])))
