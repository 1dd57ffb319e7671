"""Engines loaded and run in this process.

There is no GPU here: the driver is a C library on the processor's memory with the interface of NVIDIA's. TensorRT is a
Python module with members of the real one.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pose_runtime import Pose
from pose_runtime.bundle import Bundle
from pose_runtime.engine_cache import store_engine
from pose_runtime.runtime.engine_file import PRODUCTS, TENSORRT_RTX, Product
from pose_runtime.runtime.tensorrt_log import logger_of

from export.runtime.gpu import Driver
from tests.export.bundle.engines import VERSION, record
from tests.support import fake_tensorrt


@pytest.fixture(params=["tensorrt", "tensorrt_rtx"])
def pose(
    request: pytest.FixtureRequest, once_bundle: Path, driver: Driver, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pose]:
    """A pose network in an engine for batches of up to eight."""
    product = PRODUCTS[request.param]
    version = "1.7.1.116" if product == TENSORRT_RTX else VERSION
    monkeypatch.setattr(fake_tensorrt, "RTX", product == TENSORRT_RTX)
    monkeypatch.setattr(fake_tensorrt, "__version__", version)
    monkeypatch.setitem(sys.modules, product.module, fake_tensorrt)
    monkeypatch.setattr("pose_runtime.runtime.registry.installed", lambda name: True)
    plant_engine(product, version, Bundle(once_bundle))
    logger_of.cache_clear()
    before = driver._library.fake_allocated()  # other tests may have left some
    pose = Pose.load(once_bundle, request.param, "fp32")
    yield pose
    pose.close()
    assert driver._library.fake_allocated() == before


def plant_engine(product: Product, version: str, bundle: Bundle) -> None:
    entry = bundle.onnx("fp32")
    shapes = {name: [batch, 3, 256, 256] for name, batch in (("min", 1), ("opt", 1), ("max", 8))}
    header = product.magic + bytes(20) + bytes(map(int, version.split(".")))
    header += np.array(list(shapes.values()), "<i4").tobytes()
    values = {"runtime": product.module, "precision": "fp32", "onnx_sha256": entry["sha256"]}
    store_engine(header + bundle.content(entry["path"]), record(**values, package_version=version, profile=shapes))


def test_joints_are_those_of_onnx_runtime(pose: Pose, once_bundle: Path) -> None:
    expected = Pose.load(once_bundle, "onnxruntime", "fp32", threads=1)
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for count in (1, 8, 3, 11):  # the last in two parts
        boxes = [(10.0 * index, 5.0, 200.0, 250.0) for index in range(count)]
        for joints, wanted in zip(pose(image, boxes), expected(image, boxes), strict=True):
            np.testing.assert_allclose(joints, wanted, atol=0.05)
    assert "Orin (8.7, 8 multiprocessors, 8.0 GiB)" in pose.network.describe()
    assert pose.network.largest_batch == 8
