"""Planned files agree with their simulation, and their weights survive a file bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.graph.onnx_graph import export_onnx
from export.graph.precision import HALF
from export.graph.segments import segments
from export.model.architecture import Architecture
from export.model.network import ConvNeXtPose, build_network
from export.model.reference import run_reference
from export.parity.sessions import SimulatedSession, run_batches
from export.plan.placement import segment_of
from export.plan.planned import load_planned, planned_graph, save_planned, simulated_graph
from export.plan.precision_plan import PrecisionPlan
from export.plan.search import initial_plan
from export.plan.weights import Candidates, prepare
from export.runtime.pose import normalise
from tests.support.checkpoints import TINY, alive_weights
from tests.support.tiny_int8 import (
    calibration_figures,
    joint_errors,
    other_figures,
    tiny_calibration,
    tiny_network,
    tiny_plan,
    tiny_weights,
)
from tests.support.tiny_int8 import trained_network as network

FEW = 6
STEM, BLOCK = {"backbone.downsample_layers.0"}, {"backbone.stages.2.0"}
NEIGHBOURS = {"backbone.stages.2.1", "backbone.stages.2.2", "backbone.downsample_layers.3", "backbone.stages.3.0"}
ALL = {
    *(f"backbone.downsample_layers.{index}" for index in range(4)),
    *(f"backbone.stages.{stage}.{block}" for stage, depth in enumerate((1, 1, 3, 1)) for block in range(depth)),
    *(f"head.deconv_layers_{index}" for index in (1, 2, 3)),
    "head.final_layer",
}
"""All segments of the trained network with convolutions."""


@pytest.fixture(scope="module")
def prepared() -> dict[str, tuple[PrecisionPlan, Candidates]]:
    plans = [initial_plan(network(), precision, calibration_figures()) for precision in HALF]
    return {plan.precision: prepare(network(), plan, calibration_figures(FEW).images) for plan in plans}


def with_fp32(plan: PrecisionPlan, in_fp32: set[str]) -> PrecisionPlan:
    return plan.raise_precision([c.name for c in plan.convs if segment_of(c.name) in in_fp32], "a test")


def mean_mm(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(joint_errors(network(), a, b).mean())


@pytest.mark.parametrize(
    ("in_fp32", "precision", "takes_pixels"),
    [
        (STEM, "bf16", True),
        (NEIGHBOURS, "fp16", False),
        (ALL - BLOCK, "fp16", True),
    ],
    ids=lambda value: ", ".join(sorted(value))[:60] if isinstance(value, set) else str(value),
)
def test_a_file_agrees_with_its_simulation(
    tmp_path: Path,
    prepared: dict[str, tuple[PrecisionPlan, Candidates]],
    in_fp32: set[str],
    precision: str,
    takes_pixels: bool,
) -> None:
    """Another order of summation rounds some values differently; with little in half precision hardly any."""
    assert {segment.name for segment in segments(network())} == {*ALL, "backbone.norm"}
    rule, candidates = prepared[precision]
    plan = with_fp32(rule, in_fp32)
    weights, path, images = candidates.weights(plan), tmp_path / "planned.onnx", other_figures(FEW)
    names = [conv.name for conv in plan.convs if conv.precision == "fp32"]
    graph = planned_graph(network(), plan, weights, takes_pixels=takes_pixels)
    record = export_onnx(graph, path, {}, precision, names)  # its types are proven
    kind = "float16" if precision == "fp16" else "bfloat16"
    assert record.types.operators["Conv"] == {"float32": len(names), kind: len(plan.convs) - len(names)}
    reference = run_reference(network(), images, 4)
    expected = run_reference(simulated_graph(network(), plan, weights), images, 4)
    joints = run_batches(SimulatedSession(path, precision), images if takes_pixels else normalise(images), 4)
    error, difference = mean_mm(reference, expected), mean_mm(expected, joints)
    assert 0.7 < mean_mm(reference, joints) / error < 1.4
    if len(in_fp32) <= len(ALL) / 2:
        assert difference < 1.3 * error
        return
    assert difference < 0.3 * error
    other = with_fp32(rule, ALL)  # planted: a simulation of another plan is noticed
    wrong = run_reference(simulated_graph(network(), other, candidates.weights(other)), images, 4)
    assert mean_mm(wrong, joints) > 2 * difference


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_weights_survive_a_file_bit_for_bit(tmp_path: Path, precision: str) -> None:
    rule = tiny_plan(precision)
    *_, last = (conv.name for conv in rule.convs if conv.precision == precision)
    for plan in (rule, rule.raise_precision([last], "a test")):
        weights = tiny_weights(plan)
        save_planned(tmp_path / "weights.safetensors", weights)
        loaded = load_planned(tmp_path / "weights.safetensors")
        assert loaded.floats.keys() == weights.floats.keys()
        for name, tensor in weights.floats.items():
            assert loaded.floats[name].dtype == tensor.dtype
            assert loaded.floats[name].contiguous().view(torch.uint8).equal(tensor.contiguous().view(torch.uint8)), name
        assert loaded.int8.keys() == weights.int8.keys() == {conv.name for conv in plan.quantized}
        for name, expected in weights.int8.items():
            int8 = loaded.int8[name]
            assert int8.values.dtype == np.int8
            assert int8.scales.dtype == np.float32
            assert np.array_equal(int8.values, expected.values)
            assert np.array_equal(int8.scales, expected.scales)
            assert np.abs(int8.values.astype(int)).max() <= 127
        graph = planned_graph(tiny_network(), plan, loaded)
        assert all(torch.equal(p, weights.floats[n]) for n, p in graph.named_parameters())


def test_weights_against_the_plan_are_a_defect() -> None:
    plan = tiny_plan("fp16")
    other = with_fp32(plan, {"head.final_layer"})
    with pytest.raises(AssertionError, match=r"head\.final_layer\.weight"):
        planned_graph(tiny_network(), other, tiny_weights(plan))


def inputs_of(graph: ConvNeXtPose, names: list[str]) -> dict[str, Tensor]:
    """Return the input of each of these modules."""
    inputs: dict[str, Tensor] = {}
    for name in names:
        graph.get_submodule(name).register_forward_pre_hook(
            lambda _module, args, name=name: inputs.update({name: args[0]})
        )
    run_reference(graph, tiny_calibration().images[:1], 1)
    return inputs


def is_half(x: Tensor) -> bool:
    return torch.equal(x.half().float(), x)


def test_values_in_fp32_segments_are_not_rounded_until_a_half_segment_reads_them() -> None:
    plan = with_fp32(tiny_plan("fp16"), {"backbone.stages.2.0"})
    graph = simulated_graph(tiny_network(), plan, tiny_weights(plan))
    names = [f"backbone.stages.2.{block}.{part}" for block in (0, 1) for part in ("dwconv", "pwconv1", "pwconv2")]
    inputs = inputs_of(graph, names)
    # The block reads half values of the downsampling; inside it nothing is rounded; the next block reads half values.
    assert [is_half(inputs[name]) for name in names] == [True, False, False, True, True, True]


def test_the_decode_reads_the_type_of_the_logits() -> None:
    """With three upsamplings the decode doubles the logits, in FP32."""
    architecture = Architecture(TINY.depths, TINY.dims, TINY.head_channels, TINY.head_kernels, 18, 64, upsamplings=3)
    reference = build_network(architecture, alive_weights(architecture))
    rule = initial_plan(reference, "fp16", tiny_calibration())
    rule_plan, candidates = prepare(reference, rule, tiny_calibration().images[:2])
    for plan in (rule_plan, with_fp32(rule_plan, {"head.final_layer"})):
        graph = simulated_graph(reference, plan, candidates.weights(plan))
        logits = inputs_of(graph, ["decode"])["decode"]
        assert logits.shape[2] == architecture.heatmap_size // 2
        assert is_half(logits) is not bool(plan.in_fp32)


def test_a_simulation_does_not_change_the_reference_or_the_weights() -> None:
    reference, weights = tiny_network(), tiny_weights(tiny_plan())
    before = {name: tensor.clone() for name, tensor in (reference.state_dict() | dict(weights.floats)).items()}
    graph = simulated_graph(reference, tiny_plan(), weights)
    for parameter in graph.parameters():
        parameter.data.zero_()
    after = reference.state_dict() | dict(weights.floats)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
