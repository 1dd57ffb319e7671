"""Engines that are loaded and run, in this process.

There is no GPU here: the driver is a C library on the processor's memory, called as NVIDIA's is. TensorRT is a module
of Python with members that TensorRT has.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pose_runtime
import pytest
from pose_runtime import Pose
from pose_runtime.bundle import Bundle
from pose_runtime.engine_cache import keep_engine
from pose_runtime.runtime.engine_file import TENSORRT, TENSORRT_RTX, Product
from pose_runtime.runtime.tensorrt import read_convolution_types
from pose_runtime.runtime.tensorrt_log import logger_of

from export.runtime.gpu import Driver
from tests.export.bundle.engines import record
from tests.support import fake_tensorrt


@pytest.fixture(params=["tensorrt", "tensorrt_rtx"])
def loaded(
    request: pytest.FixtureRequest, once_bundle: Path, driver: Driver, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pose]:
    """A pose network in a runtime of engines, whose engine holds batches of up to eight."""
    bundle = Bundle(once_bundle)
    product = TENSORRT if request.param == "tensorrt" else TENSORRT_RTX
    version = "1.7.1.116" if product == TENSORRT_RTX else "10.3.0.26"
    monkeypatch.setattr(fake_tensorrt, "RTX", product == TENSORRT_RTX)
    monkeypatch.setattr(fake_tensorrt, "__version__", version)
    monkeypatch.setitem(sys.modules, product.module, fake_tensorrt)
    monkeypatch.setattr("pose_runtime.runtime.registry.installed", lambda name: True)
    keep_engine(*planted_engine(product, version, bundle))
    logger_of.cache_clear()
    pose = Pose.load(once_bundle, request.param, "fp32")
    yield pose
    pose.close()
    assert driver._library.standin_allocated() == 0


def planted_engine(product: Product, version: str, bundle: Bundle) -> tuple[bytes, dict[str, Any]]:
    entry = bundle.onnx("fp32")
    shapes = np.array([[batch, 3, 256, 256] for batch in (1, 1, 8)], "<i4").tobytes()
    header = product.magic + bytes(20) + bytes(map(int, version.split("."))) + shapes
    profile = {which: [batch, 3, 256, 256] for which, batch in (("min", 1), ("opt", 1), ("max", 8))}
    about = {"runtime": product.module, "precision": "fp32", "onnx_sha256": entry["sha256"], "package_version": version}
    return header + bundle.content(entry["path"]), record(**about, profile=profile)


def test_engines_see_what_onnx_runtime_sees(loaded: Pose, once_bundle: Path) -> None:
    expected = Pose.load(once_bundle, "onnxruntime", "fp32", threads=1)
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for count in (1, 8, 3, 11):  # the last in two parts
        persons = [(10.0 * index, 5.0, 200.0, 250.0) for index in range(count)]
        for seen, wanted in zip(loaded(image, persons), expected(image, persons), strict=True):
            np.testing.assert_allclose(seen, wanted, atol=0.05)
    assert "Orin (8.7, 8 multiprocessors, 8.0 GiB)" in loaded.network.describe()
    assert loaded.network.largest_batch == 8


def test_a_batch_outside_of_the_profile(loaded: Pose) -> None:
    with pytest.raises(pose_runtime.BadInput, match=r"batch of 9.*1 to 8"):
        loaded.network.run(np.zeros((9, 3, 256, 256), np.float32))


def test_a_launch_that_fails(loaded: Pose) -> None:
    loaded.network._context.execute_async_v3 = lambda stream: False
    with pytest.raises(pose_runtime.CheckFailed, match="does not take the launch"):
        loaded.network.run(np.zeros((1, 3, 256, 256), np.float32))


@pytest.mark.parametrize(
    ("told", "types"),
    [
        ('{"Layers": [{"LayerType": "CaskConvolution", "Outputs": [{"Format/Datatype": "Half"}]}]}', {"Half": 1}),
        (
            '{"Layers": [{"LayerType": "conv", "Outputs": [{"DataType": "Float"}, {"DataType": "Half"}]}]}',
            {"Float": 1, "Half": 1},
        ),
        ('{"Layers": ["conv1", "conv2"]}', {}),
        ("", {}),
        ("[]", {}),
    ],
)
def test_what_an_inspector_says_of_convolutions(told: str, types: dict[str, int]) -> None:
    assert read_convolution_types(told) == types
