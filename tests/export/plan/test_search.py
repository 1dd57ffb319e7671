"""The search raises no unit that may stay lower, and says so if the budget needs all."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from export.common.errors import CheckFailed
from export.model.network import ConvNeXtPose
from export.model.reference import run_reference
from export.parity.budgets import GRADES, Grade
from export.parity.comparison import SIMULATION_SHARE
from export.plan import search as plan_search
from export.plan.placement import PlannedConv, place, segment_of
from export.plan.planned import PlannedWeights, simulated_graph
from export.plan.precision_plan import HIGHER, TOO_MANY, PrecisionPlan
from export.plan.search import error_mm, initial_plan, search_plan
from export.plan.weights import Candidates, prepare
from export.runtime.pose import Volume
from tests.support.checkpoints import TINY
from tests.support.tiny_int8 import calibration_figures, other_figures, tiny_calibration, tiny_network, trained_network

PLANNED = tuple(HIGHER)
FEW = 4
"""Number of images; these tests plant their budgets, so that few are enough."""
GENEROUS, IMPOSSIBLE = Grade("usable", 1e4, 1e4), Grade("usable", 1e-9, 1e-9)


@cache
def prepared(precision: str) -> tuple[PrecisionPlan, Candidates]:
    """Return the calibrated plan of the trained network, which no budget changes, and its candidate weights."""
    calibration = calibration_figures(FEW)
    return prepare(trained_network(), initial_plan(trained_network(), precision, calibration), calibration.images)


@pytest.fixture(autouse=True)
def prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare_once(network: ConvNeXtPose, plan: PrecisionPlan, *rest: Any) -> tuple[PrecisionPlan, Candidates]:
        return prepared(plan.precision) if network is trained_network() else prepare(network, plan, *rest)

    monkeypatch.setattr(plan_search, "prepare", prepare_once)


def anywhere(*_: object) -> bool:
    """Let any plan hold on the parity images."""
    return True


def searched(
    network: ConvNeXtPose, precision: str, grade: Grade, monkeypatch: pytest.MonkeyPatch
) -> tuple[PrecisionPlan, PlannedWeights]:
    monkeypatch.setitem(GRADES, "usable", grade)
    return search_plan(
        network,
        precision,
        calibration_figures(FEW),
        trained=True,
        holds_on_parity_images=anywhere,
        require="usable",
    )


def raised(plan: PrecisionPlan) -> set[str]:
    """Return the convolutions that the plan has in a higher precision than the rule."""
    rule = {conv.name: conv.precision for conv in place(plan.architecture, plan.precision)}
    return {conv.name for conv in plan.convs if conv.precision != rule[conv.name]}


@pytest.mark.parametrize("precision", PLANNED)
def test_a_generous_budget_leaves_everything_in_the_lower_precision(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = trained_network()
    plan, weights = searched(network, precision, GENEROUS, monkeypatch)
    assert not raised(plan)
    assert (plan.aim, len(plan.search)) == ("usable", 1)
    assert all(conv.error_alone_mm is None for conv in plan.convs)
    images = calibration_figures(FEW).images
    target = run_reference(network, images, 4)
    mean, p99 = error_mm(
        simulated_graph(network, plan, weights), images, target, Volume.from_architecture(network.architecture)
    )
    assert plan.mean_mm == pytest.approx(mean, rel=0.02)
    assert plan.p99_mm == pytest.approx(p99, rel=0.02)
    assert f"mean {plan.mean_mm:.3f}, p99 {plan.p99_mm:.2f} mm" in plan.search[0]


def with_large_offset(network: ConvNeXtPose) -> tuple[ConvNeXtPose, str]:
    """Let a block store values of 3000, which its next convolution subtracts, so that they lose digits."""
    odd = copy.deepcopy(network)
    block = odd.backbone.blocks[3]
    with torch.no_grad():
        assert isinstance(block.norm, nn.BatchNorm2d)
        assert isinstance(block.pwconv1, nn.Conv2d)
        assert block.pwconv1.bias is not None
        block.norm.bias[:4] += 3000
        block.pwconv1.bias.sub_(3000 * block.pwconv1.weight[:, :4, 0, 0].sum(dim=1))
    return odd, "backbone.stages.2.1"


def with_dead_channel_of_large_weights(network: ConvNeXtPose) -> tuple[ConvNeXtPose, str]:
    """Let large weights for an input that is always zero determine the scale of each output channel."""
    odd = copy.deepcopy(network)
    layer = odd.head.layers[1]
    with torch.no_grad():
        assert isinstance(layer.norm, nn.BatchNorm2d)
        layer.norm.weight[3] = layer.norm.bias[3] = 0
        layer.pwconv.weight[:, 3] = 1000
    return odd, "head.deconv_layers_2.pwconv"


@pytest.mark.parametrize(
    ("precision", "plant", "budget"),
    [
        ("fp16", with_large_offset, Grade("usable", 0.5, 5.0)),
        ("bf16", with_large_offset, Grade("usable", 4.0, 40.0)),
        ("int8", with_dead_channel_of_large_weights, Grade("usable", 60.0, 600.0)),
    ],
)
def test_only_the_unit_with_the_largest_error_is_raised(
    precision: str, plant: Any, budget: Grade, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, victim = plant(trained_network())
    plan, weights = searched(network, precision, budget, monkeypatch)
    alone = {conv.name: conv.error_alone_mm for conv in plan.convs if conv.error_alone_mm is not None}
    worst = max(alone, key=lambda name: alone[name])
    assert victim in (worst, segment_of(worst))
    assert {name if precision == "int8" else segment_of(name) for name in raised(plan)} == {victim}
    higher = HIGHER[precision]
    for conv in plan.convs:
        if conv.name in raised(plan):
            assert conv.precision == higher
            assert conv.reason == f"kept in {higher} by the search: most error for its multiplies"
    assert plan.in_fp32 == ({victim} if precision != "int8" else set())
    assert plan.search_seconds is not None
    # The plan also holds on other images.
    target = run_reference(network, other_figures(FEW), 4)
    mean, p99 = error_mm(
        simulated_graph(network, plan, weights),
        other_figures(FEW),
        target,
        Volume.from_architecture(network.architecture),
    )
    assert budget.holds(mean, p99, None)


@pytest.mark.parametrize("most", [1.0, 0.6, 0.0])
def test_a_plan_holds_on_parity_images_too_or_is_empty(most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only plans with at most this share of the multiplies in INT8 hold there."""
    monkeypatch.setitem(GRADES, "usable", GENEROUS)
    whole, tried = prepared("int8")[0], list[float]()

    def holds(plan: PrecisionPlan, weights: PlannedWeights, grade: Grade) -> bool:
        tried.append(plan.share("int8"))
        assert set(weights.int8) == {conv.name for conv in plan.quantized}
        return tried[-1] <= most * whole.share("int8")

    plan, _ = search_plan(
        trained_network(),
        "int8",
        calibration_figures(FEW),
        trained=True,
        require="usable",
        holds_on_parity_images=holds,
    )
    assert tried[0] == whole.share("int8")
    assert plan.share("int8") == max([share for share in tried if share <= most * tried[0]], default=0)
    refused = [line for line in plan.search if line.endswith("not usable on the parity images")]
    assert len(refused) == sum(share > most * tried[0] for share in tried)
    assert (plan.aim is None) == (most == 0)


@pytest.mark.parametrize("precision", PLANNED)
def test_an_impossible_budget_leaves_an_empty_plan_that_is_refused(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _ = searched(trained_network(), precision, IMPOSSIBLE, monkeypatch)
    assert not any(conv.precision == precision for conv in plan.convs)
    assert plan.aim is None
    assert plan.search[-1] == f"usable needs all of the multiplies in {HIGHER[precision]}{TOO_MANY}"
    with pytest.raises(CheckFailed, match=f"no convolution can be {precision}"):
        plan.require_not_empty()


@pytest.mark.parametrize("precision", PLANNED)
def test_joints_that_are_not_finite_end_the_search(precision: str) -> None:
    broken = copy.deepcopy(tiny_network())
    with torch.no_grad():
        broken.get_parameter("head.deconv_layers_2.pwconv.weight")[0] = float("nan")
    few = replace(tiny_calibration(), images=tiny_calibration().images[:2])
    with pytest.raises(CheckFailed, match="not finite"):
        search_plan(broken, precision, few, trained=True, holds_on_parity_images=anywhere)


@pytest.mark.parametrize("precision", PLANNED)
def test_untrained_weights_are_not_searched(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GRADES, "usable", IMPOSSIBLE)
    few = replace(tiny_calibration(), images=tiny_calibration().images[:4])
    plan, _ = search_plan(
        tiny_network(), precision, few, trained=False, holds_on_parity_images=anywhere, require="usable"
    )
    assert not raised(plan)
    assert "not searched" in plan.search[0]
    assert all(conv.error_alone_mm is None for conv in plan.convs)
    assert (plan.aim, plan.search_seconds) == (None, None)
    assert plan.mean_mm is not None


def unit_of(conv: PlannedConv, precision: str) -> str:
    return conv.name if precision == "int8" else segment_of(conv.name)


def planted_search(
    monkeypatch: pytest.MonkeyPatch, rule: PrecisionPlan, alone: dict[str, float], error: Callable[[set[str]], float]
) -> plan_search._Search:
    """Return a search with planted errors: of each unit alone, and of a plan by its units in the lower precision."""

    def of_plan(_: object, plan: PrecisionPlan) -> tuple[float, float]:
        lowered = {unit_of(conv, plan.precision) for conv in plan.convs if conv.name in plan.in_own_precision}
        return error(lowered), 0.0

    monkeypatch.setattr(plan_search, "run_reference", lambda *_: None)
    monkeypatch.setattr(plan_search._Search, "_errors_alone", lambda _: alone)
    monkeypatch.setattr(plan_search._Search, "error", of_plan)
    reference: Any = SimpleNamespace(architecture=TINY)
    candidates: Any = SimpleNamespace(exact=None, weights=lambda _: None)
    images = tiny_calibration().images
    return plan_search._Search(reference, rule, candidates, images, lambda *_: True, lambda *_: None)


@settings(max_examples=15)
@given(precision=st.sampled_from(PLANNED), seed=st.integers(0, 2**32 - 1), share=st.floats(0.05, 1.2))
def test_no_raised_unit_of_a_plan_could_return(precision: str, seed: int, share: float) -> None:
    """Errors of units are planted, and independent."""
    reference: Any = SimpleNamespace(architecture=TINY)
    rule, rng = initial_plan(reference, precision, tiny_calibration()), np.random.default_rng(seed)
    units = dict.fromkeys(unit_of(conv, precision) for conv in rule.convs if conv.precision == precision)
    alone = {unit: float(rng.lognormal(0, 1.5)) for unit in units}

    def error(lowered: set[str]) -> float:
        return float(np.sqrt(sum(alone[unit] ** 2 for unit in lowered)))

    budget = share * error(set(alone))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(GRADES, "usable", Grade("usable", budget / SIMULATION_SHARE, 1e9))
        patch.setattr(plan_search, "MOST_RETURNED", len(alone))
        plan = planted_search(patch, rule, alone, error).find(["usable"])
    up = {unit_of(conv, precision) for conv in plan.convs if conv.name in raised(plan)}
    lowered = set(alone) - up
    assert error(lowered) <= budget
    assert all(error(lowered | {unit}) > budget for unit in up)


def test_units_that_need_not_stay_raised_return(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of the ranking does no harm together with the others; the second and the third do."""
    reference: Any = SimpleNamespace(architecture=TINY)
    rule = initial_plan(reference, "int8", tiny_calibration())
    alone = {conv.name: conv.macs**0.5 * (100 - index) for index, conv in enumerate(rule.quantized)}
    harmless, *harmful = list(alone)[:3]
    monkeypatch.setitem(GRADES, "usable", Grade("usable", 1.0, 1.0))
    search = planted_search(monkeypatch, rule, alone, lambda lowered: 9.0 if lowered & set(harmful) else 0.0)
    assert list(search._ranking())[:3] == [harmless, *harmful]
    plan = search.find(["usable"])
    assert (raised(plan), plan.aim) == (set(harmful), "usable")


def test_few_units_are_tried_again_and_not_the_one_that_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last of three raised units does harm; one of the others is tried."""
    reference: Any = SimpleNamespace(architecture=TINY)
    rule = initial_plan(reference, "int8", tiny_calibration())
    alone = {conv.name: conv.macs**0.5 * (100 - index) for index, conv in enumerate(rule.quantized)}
    first, _, needed = list(alone)[:3]
    monkeypatch.setitem(GRADES, "usable", Grade("usable", 1.0, 1.0))
    monkeypatch.setattr(plan_search, "MOST_RETURNED", 1)
    search = planted_search(monkeypatch, rule, alone, lambda lowered: 9.0 if needed in lowered else 0.0)
    assert raised(search.find(["usable"])) == {first, needed}


def test_a_half_precision_settles_for_the_required_grade(monkeypatch: pytest.MonkeyPatch) -> None:
    """BF16 aims at *near*, and requires *usable*."""
    monkeypatch.setitem(GRADES, "near", IMPOSSIBLE)
    monkeypatch.setitem(GRADES, "usable", GENEROUS)
    plan, _ = search_plan(
        trained_network(), "bf16", calibration_figures(4), trained=True, holds_on_parity_images=anywhere
    )
    assert (plan.aim, raised(plan)) == ("usable", set())
    assert any("more than 25% of the multiplies in fp32" in line and line.endswith(TOO_MANY) for line in plan.search)
