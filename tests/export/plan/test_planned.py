"""A planned file computes what its simulation says, and its weights come back from their file bit for bit."""

from dataclasses import replace
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
from export.model.pose import Volume, normalise
from export.model.reference import run_reference
from export.parity.comparison import errors_mm
from export.parity.sessions import SimulatedSession, run_batches
from export.plan.placement import segment_of
from export.plan.planned import PlannedWeights, load_planned, planned_graph, save_planned, simulated
from export.plan.precision_plan import PrecisionPlan
from export.plan.search import Candidates, plan_of, prepare
from tests.support.checkpoints import TINY, alive_weights
from tests.support.tiny_int8 import tiny_calibration, tiny_network, tiny_plan, tiny_weights, to_calibrate, to_judge
from tests.support.tiny_int8 import trained_network as network

FEW = 6
STEM, BLOCK, LAST_HEAD, FINAL = (
    {"backbone.downsample_layers.0"},
    {"backbone.stages.2.0"},
    {"head.deconv_layers_3"},
    {"head.final_layer"},
)
NEIGHBOURS = {"backbone.stages.2.1", "backbone.stages.2.2", "backbone.downsample_layers.3", "backbone.stages.3.0"}
ALL = {
    *(f"backbone.downsample_layers.{index}" for index in range(4)),
    *(f"backbone.stages.{stage}.{block}" for stage, depth in enumerate((1, 1, 3, 1)) for block in range(depth)),
    *(f"head.deconv_layers_{index}" for index in (1, 2, 3)),
    "head.final_layer",
}
"""Every segment with convolutions of the trained network."""


@pytest.fixture(scope="module")
def prepared() -> dict[str, tuple[PrecisionPlan, Candidates]]:
    images = to_calibrate(FEW)
    full = to_calibrate()
    return {p: prepare(network(), plan_of(network(), p, full), images.images) for p in HALF}


def with_fp32(plan: PrecisionPlan, in_fp32: set[str]) -> PrecisionPlan:
    return plan.keeping([c.name for c in plan.convs if segment_of(c.name) in in_fp32], "fp32", "a test")


def mean_apart(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(errors_mm(a, b, Volume.from_architecture(network().architecture)).mean())


@pytest.mark.parametrize(
    ("in_fp32", "precision", "takes_pixels"),
    [
        (STEM, "bf16", True),
        (BLOCK, "fp16", False),
        (FINAL, "fp16", True),
        (NEIGHBOURS, "fp16", False),
        (ALL, "fp16", True),
        (ALL - BLOCK, "fp16", True),
        (ALL - LAST_HEAD, "bf16", False),
    ],
    ids=lambda value: ", ".join(sorted(value))[:60] if isinstance(value, set) else str(value),
)
def test_a_file_computes_what_its_simulation_says(
    tmp_path: Path,
    prepared: dict[str, tuple[PrecisionPlan, Candidates]],
    in_fp32: set[str],
    precision: str,
    takes_pixels: bool,
) -> None:
    """Sums of another order round some values otherwise; where little is in half precision, hardly any."""
    assert {segment.name for segment in segments(network())} == {*ALL, "backbone.norm"}
    rule, candidates = prepared[precision]
    plan = with_fp32(rule, in_fp32)
    weights, path, images = candidates.weights(plan), tmp_path / "planned.onnx", to_judge(FEW)
    names = [conv.name for conv in plan.convs if conv.precision == "fp32"]
    graph = planned_graph(network(), plan, weights, takes_pixels=takes_pixels)
    record = export_onnx(graph, path, {}, precision, names)  # its types are proven
    half = len(plan.convs) - len(names)
    kind = "float16" if precision == "fp16" else "bfloat16"
    assert record.types.operators["Conv"] == {k: n for k, n in (("float32", len(names)), (kind, half)) if n}
    truth = run_reference(network(), images, 4)
    expected = run_reference(simulated(network(), plan, weights), images, 4)
    found = run_batches(SimulatedSession(path, precision), images if takes_pixels else normalise(images), 4)
    error, apart = mean_apart(truth, expected), mean_apart(expected, found)
    assert 0.7 < mean_apart(truth, found) / error < 1.4
    if len(in_fp32) <= len(ALL) / 2:
        assert apart < 1.3 * error
        return
    assert apart < 0.3 * error
    if in_fp32 != ALL:  # planted: a simulation of another plan is noticed
        other = with_fp32(rule, ALL)
        assert mean_apart(run_reference(simulated(network(), other, candidates.weights(other)), images, 4), found) > (
            2 * apart
        )


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_weights_come_back_bit_for_bit(tmp_path: Path, precision: str) -> None:
    plan = tiny_plan(precision)
    last = [conv.name for conv in plan.convs if conv.precision == precision][-1]
    for of in (plan, plan.keeping([last], "fp16" if precision == "int8" else "fp32", "a test")):
        weights = tiny_weights(of)
        save_planned(tmp_path / "weights.safetensors", weights)
        read = load_planned(tmp_path / "weights.safetensors")
        assert read.floats.keys() == weights.floats.keys()
        for name, tensor in weights.floats.items():
            assert read.floats[name].dtype == tensor.dtype
            assert read.floats[name].contiguous().view(torch.uint8).equal(tensor.contiguous().view(torch.uint8)), name
        assert read.int8.keys() == weights.int8.keys() == {conv.name for conv in of.quantized}
        for name, expected in weights.int8.items():
            found = read.int8[name]
            assert found.values.dtype == np.int8
            assert found.scales.dtype == np.float32
            assert np.array_equal(found.values, expected.values)
            assert np.array_equal(found.scales, expected.scales)
            assert np.abs(found.values.astype(int)).max() <= 127
        graph = planned_graph(tiny_network(), of, read)
        assert all(torch.equal(p, weights.floats[n]) for n, p in graph.named_parameters())


def test_weights_of_another_type_than_planned_are_a_defect() -> None:
    plan = tiny_plan("fp16")
    other = with_fp32(plan, {"head.final_layer"})
    with pytest.raises(AssertionError, match=r"head\.final_layer\.weight"):
        planned_graph(tiny_network(), other, tiny_weights(plan))


def test_a_plan_changes_the_weights_of_what_it_names_alone() -> None:
    plan = tiny_plan("fp16")
    before, after = tiny_weights(plan), tiny_weights(with_fp32(plan, {"head.final_layer"}))
    changed = {name for name, tensor in after.floats.items() if tensor.dtype != before.floats[name].dtype}
    assert changed == {"head.final_layer.weight", "head.final_layer.bias"}
    assert all(torch.equal(after.floats[name], before.floats[name]) for name in before.floats.keys() - changed)


def inputs_of(graph: ConvNeXtPose, names: list[str]) -> dict[str, Tensor]:
    """Return the first input of each of these modules, after every rounding."""
    seen: dict[str, Tensor] = {}
    for name in names:
        graph.get_submodule(name).register_forward_pre_hook(
            lambda _module, inputs, name=name: seen.update({name: inputs[0]})
        )
    run_reference(graph, tiny_calibration().images[:1], 1)
    return seen


def is_half(x: Tensor) -> bool:
    return torch.equal(x.half().float(), x)


def test_values_of_segments_in_fp32_are_not_rounded_until_a_half_one_reads_them() -> None:
    plan = with_fp32(tiny_plan("fp16"), {"backbone.stages.2.0"})
    graph = simulated(tiny_network(), plan, tiny_weights(plan))
    names = [f"backbone.stages.2.{block}.{part}" for block in (0, 1) for part in ("dwconv", "pwconv1", "pwconv2")]
    seen = inputs_of(graph, names)
    # The block reads what the downsampling stored in half; inside it nothing is rounded; the next block reads half.
    assert [is_half(seen[name]) for name in names] == [True, False, False, True, True, True]


def test_upsampled_logits_have_the_type_of_the_logits() -> None:
    """With three upsamplings the last one doubles the logits, behind all segments."""
    architecture = Architecture(TINY.depths, TINY.dims, TINY.head_channels, TINY.head_kernels, 18, 64, upsamplings=3)
    reference = build_network(architecture, alive_weights(architecture))
    rule = plan_of(reference, "fp16", tiny_calibration())
    few = replace(tiny_calibration(), images=tiny_calibration().images[:2]).images
    plan, candidates = prepare(reference, rule, few)
    for of in (plan, with_fp32(plan, {"head.final_layer"})):
        graph = simulated(reference, of, candidates.weights(of))
        logits = inputs_of(graph, ["head.logit_upsample", "decode"])
        assert logits["decode"].shape[2] == 2 * logits["head.logit_upsample"].shape[2]
        assert {is_half(value) for value in logits.values()} == {not of.in_fp32}


def test_simulating_leaves_the_reference_and_the_weights_as_they_are() -> None:
    reference, weights = tiny_network(), tiny_weights(tiny_plan())
    before = {name: tensor.clone() for name, tensor in (reference.state_dict() | dict(weights.floats)).items()}
    graph = simulated(reference, tiny_plan(), weights)
    for parameter in graph.parameters():
        parameter.data.zero_()
    after = reference.state_dict() | dict(weights.floats)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert isinstance(weights, PlannedWeights)
