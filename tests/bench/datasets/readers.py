"""The two readers with small datasets to read, and how to spoil them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.datasets.coco import open_coco
from bench.datasets.human36m import ProtocolNumber, open_human36m
from bench.datasets.protocol import Dataset, Sample
from export.model.camera import locate
from export.model.joint_sets import HUMAN36M
from export.runtime.pose import Volume, image_to_crop
from tests.support.tiny_datasets import Truth, write_coco, write_human36m, write_json

SIZE = 128
VOLUMES = (Volume(16, 16, SIZE), Volume(32, 64, SIZE))
Document = Any
Edit = Callable[[Document], object]


def human36m(folder: Path, protocol: ProtocolNumber = 2) -> Dataset:
    return open_human36m(folder, protocol, SIZE)


def coco(folder: Path) -> Dataset:
    return open_coco(folder, HUMAN36M, SIZE)


READERS: dict[str, tuple[Callable[[Path], dict[str, Truth]], Callable[[Path], Dataset]]] = {
    "Human3.6M": (write_human36m, human36m),
    "COCO": (write_coco, coco),
}

of_human36m = pytest.mark.parametrize("folder", ["Human3.6M"], indirect=True)
of_coco = pytest.mark.parametrize("folder", ["COCO"], indirect=True)


def edit(path: Path, change: Edit) -> None:
    document = json.loads(path.read_text())
    change(document)
    write_json(path, document)


def samples(dataset: Dataset) -> list[Sample]:
    return [dataset.sample(index) for index in range(len(dataset))]


def located(dataset: Dataset, sample: Sample, volume: Volume) -> Any:
    """Where the joints lie, relative to the root, if a network says exactly what is true."""
    assert sample.joints_mm is not None
    assert sample.camera is not None
    assert sample.root_depth_mm is not None
    bins = volume.to_bins(image_to_crop(sample.joints_px, sample.box, SIZE), sample.joints_mm[:, 2])
    joints = locate(bins, volume, sample.box, sample.camera, sample.root_depth_mm)
    return joints - joints[dataset.root]


ANNOTATIONS = {
    "Human3.6M": "annotations/Human36M_subject11_data.json",
    "COCO": "annotations.json",
}

IMAGES = {"Human3.6M": "images", "COCO": "images"}
EVERY = [pytest.param(name, name, id=name) for name in READERS]
every_dataset = pytest.mark.parametrize(("folder", "name"), EVERY, indirect=["folder"])
