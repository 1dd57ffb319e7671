"""The reference network loads exactly its weights, and its shapes are checked."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from export.common.errors import BadInput
from export.model.architecture import Architecture
from export.model.network import ConvNeXtPose, Doubling, SoftArgmax, build_network, check_sizes
from tests.support.checkpoints import TINY, State, alive_weights, fresh_weights
from tests.support.grid import architectures

# ── strict loading ───────────────────────────────────────────────────────────────────────────────────────────────────

FINAL = "head.final_layer.weight"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(lambda s: s.pop(FINAL), "Missing key.*head.final_layer.weight", id="missing"),
        pytest.param(lambda s: s.update(extra=s[FINAL]), "Unexpected key.*extra", id="extra"),
        pytest.param(lambda s: s.update({FINAL: s[FINAL][:-1]}), "size mismatch.*final_layer", id="wrong shape"),
    ],
)
def test_only_exactly_fitting_weights_are_taken(damage: Callable[[State], Any], said: str) -> None:
    state = alive_weights()
    damage(state)
    with pytest.raises(BadInput, match=said) as caught:
        build_network(TINY, state)
    assert "inspect" in caught.value.advice


def test_weights_are_taken_as_they_are_in_fp32_and_for_evaluation() -> None:
    state = alive_weights()
    network = build_network(TINY, {n: t.double() if t.is_floating_point() else t for n, t in state.items()})
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name]), name
        assert tensor.dtype == state[name].dtype


@settings(max_examples=10)
@given(architecture=architectures(joints=(1, 18), depth_dims=(1, 8), input_sizes=(64, 128)))
def test_any_architecture_is_built_and_does_what_it_says(architecture: Architecture) -> None:
    network = build_network(architecture, fresh_weights(architecture))
    edge = architecture.input_size
    with torch.inference_mode():
        joints = network(torch.zeros(3, 3, edge, edge))
    assert joints.shape == (3, architecture.joints, 3)
    assert bool(torch.isfinite(joints).all())


# ── the size guard ───────────────────────────────────────────────────────────────────────────────────────────────────


class Reshaped(nn.Module):
    """A planted defect: what ``inner`` returns, otherwise shaped."""

    def __init__(self, inner: nn.Module, reshape: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.reshape = inner, reshape

    def forward(self, x: Tensor) -> Tensor:
        return self.reshape(self.inner(x))


def no_upsampling(network: ConvNeXtPose) -> None:
    network.head.layers[1].upsample = nn.Identity()


def third_upsampling(network: ConvNeXtPose) -> None:
    network.head.layers[2].upsample = Doubling()


def backbone_defect(reshape: Callable[[Tensor], Tensor]) -> Callable[[ConvNeXtPose], None]:
    def plant(network: ConvNeXtPose) -> None:
        network.backbone.stages[3] = Reshaped(network.backbone.stages[3], reshape)

    return plant


def decode_defect(reshape: Callable[[Tensor], Tensor]) -> Callable[[ConvNeXtPose], None]:
    def plant(network: ConvNeXtPose) -> None:
        network.decode = Reshaped(network.decode, reshape)

    return plant


def head_defect(network: ConvNeXtPose) -> None:
    """Batch and joints mixed up: twice the channels for half the batch."""
    mixed = Reshaped(network.head.final_layer, lambda x: x.reshape(1, -1, *x.shape[2:]))
    network.head.add_module("final_layer", mixed)


@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(no_upsampling, id="map too small"),
        pytest.param(third_upsampling, id="map too large"),
        pytest.param(backbone_defect(lambda x: x[:, :, 1:]), id="map oblong"),
        pytest.param(backbone_defect(lambda x: x[:1]), id="batch lost"),
        pytest.param(head_defect, id="batch mixed with joints"),
        pytest.param(decode_defect(lambda x: x[:, :-1]), id="joint lost"),
        pytest.param(decode_defect(lambda x: x[..., :2]), id="axis lost"),
        pytest.param(decode_defect(lambda x: x.transpose(0, 1)), id="batch and joints exchanged"),
    ],
)
def test_the_size_guard(plant: Callable[[ConvNeXtPose], None]) -> None:
    network = build_network(TINY, alive_weights())
    check_sizes(network, TINY)
    plant(network)
    with pytest.raises(BadInput, match="its architecture"):
        check_sizes(network, TINY)


# ── the decode ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("x", "y", "z"), [(0, 0, 0), (5, 2, 3), (7, 6, 4)])
def test_a_peak_is_found_where_it_is(x: int, y: int, z: int) -> None:
    logits = torch.zeros(2, 3, 5, 7, 8)  # batch, joints, depth, height, width
    logits[1, 2, z, y, x] = 1000
    joints = SoftArgmax(3, 5)(logits.reshape(2, 15, 7, 8))
    assert joints[1, 2].tolist() == [x, y, z]
    assert joints[0, 0].tolist() == pytest.approx([3.5, 3, 2])  # flat: the middle
