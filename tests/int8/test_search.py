"""The search for what bears int8."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from export.deploy import deploy
from export.errors import CheckFailed
from export.image_set import ImageSet
from export.int8_placement import place
from export.int8_search import mean_drift, search_plan
from export.network import ConvNeXtPose, build_network
from export.pose import Volume
from export.reference import run_reference
from tests.checkpoints import TINY, alive_weights


def test_the_search_keeps_out_what_costs_most(
    network: ConvNeXtPose, calibration: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A convolution is made sensitive: one input channel a thousand times the others, so int8 loses these."""
    odd = deploy(build_network(TINY, alive_weights()))
    victim, before = "head.deconv_layers_2.pwconv", odd.head.layers[1].dwconv
    conv = odd.get_submodule(victim)
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(before, nn.Conv2d)
    with torch.no_grad():
        assert before.bias is not None
        before.weight[0] *= 1000
        before.bias[0] *= 1000
        conv.weight[:, 0] /= 1000
    few = replace(calibration, images=calibration.images[:8])
    plan = search_plan(odd, few, trained=True)
    sensitivities = {c.name: c.drift_alone_mm for c in plan.convs if c.drift_alone_mm is not None}
    assert max(sensitivities, key=lambda name: sensitivities[name] or 0) == victim
    kept = [c for c in plan.convs if c.kind in ("pointwise", "downsampling") and not c.quantised]
    assert victim in [c.name for c in kept]
    assert all("search" in c.reason for c in kept)
    assert plan.drift_mm is not None
    assert plan.drift_mm <= 4
    assert len(plan.search) == len(kept) + 1
    assert plan.sensitivity_seconds is not None
    assert plan.search_seconds is not None


def test_joints_that_are_not_finite_end_the_search(calibration: ImageSet) -> None:
    broken = deploy(build_network(TINY, alive_weights()))
    with torch.no_grad():
        broken.head.final_layer.weight[0] = float("nan")
    images, volume = calibration.images[:2], Volume.of(broken.architecture)
    with pytest.raises(CheckFailed, match="not finite"):
        mean_drift(broken, images, run_reference(broken, images, 2), volume)


def test_weights_that_were_never_trained_are_not_searched(network: ConvNeXtPose, calibration: ImageSet) -> None:
    found = search_plan(network, replace(calibration, images=calibration.images[:4]), trained=False)
    assert {c.name for c in found.quantised} == {c.name for c in place(network) if c.quantised}
    assert "not searched" in found.search[0]
    assert all(c.drift_alone_mm is None for c in found.convs)
    assert found.sensitivity_seconds is None
