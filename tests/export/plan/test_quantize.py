"""The INT8 graph: TensorRT's rules, its values, and the record of its file."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from export.common.errors import CheckFailed
from export.images.image_set import ImageSet
from export.model.network import ConvNeXtPose
from export.model.reference import run_reference
from export.parity.sessions import SimulatedSession, run_batches
from export.plan import weights as plan_weights
from export.plan.planned import PlannedWeights, planned_graph, simulated_graph
from export.plan.precision_plan import PrecisionPlan
from export.plan.quantize import export_int8, insert_int8
from export.plan.search import initial_plan
from export.plan.weights import prepare
from export.runtime.onnx_runtime import OnnxRuntimeSession
from export.runtime.pose import normalise
from tests.support.tiny_int8 import (
    FEW,
    calibration_figures,
    joint_errors,
    tiny_weights,
    trained_network,
)


def test_the_graph_keeps_tensorrts_rules(int8_file: Path, plan: PrecisionPlan) -> None:
    graph = onnx.load(int8_file).graph
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    producers = {node.output[0]: node for node in graph.node}
    convs = {node.name.removesuffix("/Conv"): node for node in graph.node if node.op_type == "Conv"}
    for conv in plan.convs:
        node = convs[conv.name]
        sources = [producers[name].op_type if name in producers else "constant" for name in node.input]
        assert (sources[:2] == ["DequantizeLinear"] * 2) == (conv.precision == "int8"), conv.name
        assert sources[2:] in (["constant"], [])
        if conv.precision == "int8":
            weight = producers[node.input[1]]
            assert arrays[weight.input[0]].dtype == np.int8
            assert arrays[weight.input[1]].shape == (arrays[weight.input[0]].shape[0],)
            activation = producers[producers[node.input[0]].input[0]]
            assert activation.op_type == "QuantizeLinear"
            assert arrays[activation.input[1]].shape == ()
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = arrays[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
    used = {name for node in graph.node for name in node.input}
    assert used >= arrays.keys()


def test_the_graph_agrees_with_its_simulation(
    int8_file: Path, network: ConvNeXtPose, plan: PrecisionPlan, weights: PlannedWeights, calibration: ImageSet
) -> None:
    """Up to values between two steps, which floating-point arithmetic rounds either way."""
    images = calibration.images[:8]
    reference = run_reference(network, images, 4)
    expected = run_reference(simulated_graph(network, plan, weights), images, 4)
    joints = run_batches(SimulatedSession(int8_file, "int8"), normalise(images), 4)
    error = joint_errors(network, reference, joints).mean()
    assert error > 0.5  # otherwise nothing would be tested
    assert joint_errors(network, expected, joints).mean() < error


def test_a_plan_for_another_graph_is_a_defect(plan: PrecisionPlan, weights: PlannedWeights, fp16_file: Path) -> None:
    odd = replace(plan, convs=(*plan.convs, replace(plan.quantized[0], name="head.no_such_layer")))
    with pytest.raises(CheckFailed, match="no_such_layer"):
        insert_int8(onnx.load(fp16_file), odd, weights.int8)
    missing = {name: int8 for name, int8 in weights.int8.items() if name != plan.quantized[1].name}
    with pytest.raises(CheckFailed, match=plan.quantized[1].name):
        insert_int8(onnx.load(fp16_file), plan, missing)


@pytest.mark.parametrize(
    ("takes_pixels", "count", "share"), [(True, None, (0, 0.4)), (False, 3, (0.4, 0.55))], ids=["all", "few in INT8"]
)
def test_the_written_file_is_proven(
    tmp_path: Path,
    network: ConvNeXtPose,
    plan: PrecisionPlan,
    takes_pixels: bool,
    count: int | None,
    share: tuple[float, float],
) -> None:
    """The record counts INT8 and FP16 convolutions."""
    kept = plan.quantized[:count]
    plan = plan.raise_precision([conv.name for conv in plan.quantized[len(kept) :]], "a test")
    weights = tiny_weights(plan)
    graph = planned_graph(network, plan, weights, takes_pixels=takes_pixels)
    record = export_int8(graph, tmp_path / "int8.onnx", {}, plan, weights.int8)
    assert record.types.operators["QuantizeLinear"] == {"int8": len(kept)}
    assert record.types.operators["Conv"] == {"float16": len(plan.convs)}
    assert record.types.operators["Softmax"] == {"float32": 1}
    assert record.inputs[0].dtype == ("uint8" if takes_pixels else "float32")
    assert record.nodes["DequantizeLinear"] == 2 * len(kept)
    assert record.int8 is not None
    counts = (record.int8.convolutions_int8, record.int8.convolutions_fp16)
    assert counts == (len(kept), len(plan.convs) - len(kept))
    assert share[0] < record.types.initializer_share <= share[1]


@pytest.mark.parametrize(("steps", "same"), [(plan_weights.BIAS_STEPS, True), (1e9, False)])
def test_onnx_runtime_computes_large_biases_correctly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: float, same: bool
) -> None:
    """It quantizes biases of INT8 convolutions in FP16: without the limit one becomes infinite."""
    monkeypatch.setattr(plan_weights, "BIAS_STEPS", steps)
    odd, images = copy.deepcopy(trained_network()), calibration_figures(FEW).images
    block = odd.backbone.blocks[1]
    assert isinstance(block.pwconv1, nn.Conv2d)
    assert block.pwconv1.bias is not None
    with torch.no_grad():  # a hidden unit that is nearly constant
        block.pwconv1.weight[0] *= 1e-3
        block.pwconv1.bias[0] = 1000 * block.pwconv1.weight[0].abs().max()
    plan, candidates = prepare(odd, initial_plan(odd, "int8", calibration_figures()), images)
    weights = candidates.weights(plan)
    path = tmp_path / "int8.onnx"
    export_int8(planned_graph(odd, plan, weights), path, {}, plan, weights.int8)
    sessions = (OnnxRuntimeSession(path, "int8"), SimulatedSession(path, "int8"))
    joints = (run_batches(session, normalise(images), 4) for session in sessions)
    difference = joint_errors(odd, *joints).mean()
    assert (difference < 5) == same, difference
