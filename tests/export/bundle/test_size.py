"""Size of S's ONNX files: four precisions take at most 75 MB, and each no more than its type needs.

The files are written from random weights with every scale the same: neither weights nor scales change their size.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from export.common.interface import PRECISIONS
from export.graph.onnx_graph import consumer_metadata, export_onnx
from export.graph.precision import half_graph, in_precision
from export.model.config import load_config
from export.model.network import ConvNeXtPose, build_network
from export.plan.planned import Int8Weights, PlannedWeights, planned_graph
from export.plan.precision_plan import PrecisionPlan
from export.plan.quantize import export_int8
from export.plan.search import initial_plan
from export.plan.weights import weight_scales
from tests.support.checkpoints import fresh_weights
from tests.support.tiny_int8 import tiny_calibration

ALLOWED_BYTES = 75_000_000
BYTES_A_PARAMETER = {"fp32": 4.1, "fp16": 2.1, "bf16": 2.1, "int8": 1.2}
"""Size of the type, and room for the graph, its metadata and the half-precision values of an int8 file."""


def int8_of(network: ConvNeXtPose) -> tuple[PrecisionPlan, PlannedWeights]:
    """Return a plan with all in INT8 that may be, every input scale 1, and weights rounded to nearest."""
    rule = initial_plan(network, "int8", tiny_calibration())
    convs = (replace(c, input_scale=1.0, equalization=0.0) if c.precision == "int8" else c for c in rule.convs)
    plan, exact = replace(rule, convs=tuple(convs)), half_graph(network, torch.float32)
    floats = {name: parameter.half() for name, parameter in exact.named_parameters()}
    int8: dict[str, Int8Weights] = {}
    for conv in plan.quantized:
        weight = exact.get_parameter(f"{conv.name}.weight").double()
        scales = weight_scales(weight)
        values = torch.round(weight / scales[:, None, None, None]).to(torch.int8).numpy()
        int8[conv.name] = Int8Weights(values, scales.float().numpy())
        floats[f"{conv.name}.weight"] = torch.from_numpy(int8[conv.name].dequantized).half()
    return plan, PlannedWeights(floats, int8)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """S, as an export writes it; tests must leave the files as they are."""
    folder, architecture = tmp_path_factory.mktemp("S"), load_config("S").architecture
    network = build_network(architecture, fresh_weights(architecture, as_convnext=False))
    plan, weights = int8_of(network)
    for precision in PRECISIONS:
        graph, path = in_precision(network, precision), folder / f"{precision}.onnx"
        metadata = consumer_metadata(architecture, precision=precision)
        if precision == "int8":
            export_int8(planned_graph(network, plan, weights), path, metadata, plan, weights.int8)
        else:
            export_onnx(graph, path, metadata, precision)
    return {precision: folder / f"{precision}.onnx" for precision in PRECISIONS}


def too_large(files: Mapping[str, Path]) -> list[str]:
    """Return the precisions with a file larger than its type needs, and "all" if the sum is too large."""
    sizes = {precision: path.stat().st_size for precision, path in files.items()}
    parameters = sum(np.prod(stored.dims) for stored in onnx.load(files["fp32"]).graph.initializer)
    large = [precision for precision, size in sizes.items() if size > BYTES_A_PARAMETER[precision] * parameters]
    return large + ["all"] * (sum(sizes.values()) > ALLOWED_BYTES)


def test_four_precisions_are_small(files: dict[str, Path]) -> None:
    assert set(files) == set(BYTES_A_PARAMETER) == set(PRECISIONS)
    assert too_large(files) == []


@pytest.mark.parametrize(
    ("precision", "stored_as", "large"),
    [
        ("fp16", np.float32, ["fp16", "all"]),
        ("bf16", np.float32, ["bf16", "all"]),
        ("int8", np.float32, ["int8", "all"]),
        ("int8", np.float16, ["int8"]),
    ],
)
def test_weights_stored_in_a_wider_type_are_noticed(
    files: dict[str, Path], tmp_path: Path, precision: str, stored_as: type, large: list[str]
) -> None:
    model = onnx.load(files[precision])
    for stored in model.graph.initializer:
        if stored.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8):
            wider: NDArray[Any] = numpy_helper.to_array(stored).astype(stored_as)
            stored.CopyFrom(numpy_helper.from_array(wider, stored.name))
    onnx.save(model, tmp_path / "wider.onnx")
    assert too_large(files | {precision: tmp_path / "wider.onnx"}) == large
