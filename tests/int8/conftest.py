"""A small network with its calibration and its int8 plan, and its graph in FP32 and in int8."""

from pathlib import Path

import onnx
import pytest

from export.image_set import ImageSet
from export.int8_plan import Int8Plan
from export.network import ConvNeXtPose
from export.onnx_graph import write_onnx
from export.quantize import insert_int8
from tests.tiny_int8 import tiny_calibration, tiny_network, tiny_plan


@pytest.fixture
def network() -> ConvNeXtPose:
    return tiny_network()


@pytest.fixture
def calibration() -> ImageSet:
    return tiny_calibration()


@pytest.fixture
def plan() -> Int8Plan:
    return tiny_plan()


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "fp32.onnx"
    write_onnx(tiny_network(), path, {})
    return path


@pytest.fixture(scope="session")
def written(plain: Path) -> Path:
    path = plain.with_name("int8.onnx")
    model = onnx.load(plain)
    insert_int8(model, tiny_plan())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path
