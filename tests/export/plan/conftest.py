"""A small network with its calibration, its INT8 plan and weights, and its graph before and after Q/DQ nodes."""

from pathlib import Path

import onnx
import pytest

from export.graph.onnx_graph import write_onnx
from export.graph.type_proof import OPSETS
from export.images.image_set import ImageSet
from export.model.network import ConvNeXtPose
from export.plan.planned import PlannedWeights, planned_graph
from export.plan.precision_plan import PrecisionPlan
from export.plan.quantize import insert_int8
from tests.support.tiny_int8 import tiny_calibration, tiny_network, tiny_plan, tiny_weights


@pytest.fixture
def network() -> ConvNeXtPose:
    return tiny_network()


@pytest.fixture
def calibration() -> ImageSet:
    return tiny_calibration()


@pytest.fixture
def plan() -> PrecisionPlan:
    return tiny_plan()


@pytest.fixture
def weights() -> PlannedWeights:
    return tiny_weights(tiny_plan())


@pytest.fixture(scope="session")
def fp16_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The FP16 graph that Q/DQ nodes are inserted into; tests must not change the file."""
    path = tmp_path_factory.mktemp("int8") / "half.onnx"
    graph = planned_graph(tiny_network(), tiny_plan(), tiny_weights(tiny_plan()))
    write_onnx(graph, path, {}, OPSETS["int8"])
    return path


@pytest.fixture(scope="session")
def int8_file(fp16_file: Path) -> Path:
    """The INT8 graph; tests must not change the file."""
    path = fp16_file.with_name("int8.onnx")
    model = onnx.load(fp16_file)
    insert_int8(model, tiny_plan(), tiny_weights(tiny_plan()).int8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path
