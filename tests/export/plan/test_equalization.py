"""Rescaling and shifting the inputs of quantizable convolutions leaves a network's joints unchanged."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from export.graph.deploy import deploy
from export.graph.precision import half_graph
from export.model.architecture import Architecture
from export.model.network import ConvNeXtPose
from export.plan import equalization
from export.plan.equalization import DEAD, Edge, edges, equalizing_factors, rescale_input, shift_input
from export.plan.placement import INT8_RULE, conv_kind, place
from tests.export.graph.test_deploy import BINS, architectures, images, lively
from tests.support.checkpoints import TINY

NAMES = [conv.name for conv in place(TINY, "int8") if conv.precision == "int8"]
SHIFTS = [name for name in NAMES if name.endswith(("pwconv1", ".pwconv"))]


def factors_of(network: ConvNeXtPose, name: str, seed: int, spread: float) -> Tensor:
    conv = network.get_submodule(name)
    assert isinstance(conv, nn.Conv2d)
    normal = torch.randn(conv.in_channels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.exp(spread * normal)


@settings(max_examples=20)
@given(architecture=architectures)
def test_every_quantizable_convolution_has_exactly_one_edge(architecture: Architecture) -> None:
    network = deploy(lively(architecture))
    found = edges(network)
    assert found.keys() == {conv.name for conv in place(architecture, "int8") if conv.precision == "int8"}
    assert all(INT8_RULE[conv_kind(name)][0] for name in found)
    for name, edge in found.items():
        conv = network.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        assert {producer.out_channels for producer in edge.producers} == {conv.in_channels}
        assert all(reader.groups == reader.in_channels == conv.in_channels for reader in edge.other_readers)
        assert not edge.can_shift or edge.producers[0].groups == conv.in_channels
    producers = [id(producer) for edge in found.values() for producer in edge.producers]
    assert len(producers) == len(set(producers))


def test_edges_that_can_shift_are_those_behind_a_depthwise_convolution() -> None:
    found = edges(deploy(lively(TINY)))
    assert [name for name, edge in found.items() if edge.can_shift] == SHIFTS


@pytest.mark.parametrize("form", [deploy, lambda network: half_graph(network, torch.float64)], ids=["deploy", "half"])
@settings(max_examples=15)
@given(architecture=architectures, seed=st.integers(0, 2**31), spread=st.floats(0.1, 3))
def test_rescaling_and_shifting_every_input_is_exact(
    form: object, architecture: Architecture, seed: int, spread: float
) -> None:
    network = form(lively(architecture))  # type: ignore[operator]
    changed = copy.deepcopy(network)
    for name, edge in edges(changed).items():
        if edge.can_shift:
            conv = changed.get_submodule(name)
            assert isinstance(conv, nn.Conv2d)
            generator = torch.Generator().manual_seed(seed)
            shift_input(changed, name, 10 * torch.randn(conv.in_channels, generator=generator, dtype=torch.float64))
        rescale_input(changed, name, factors_of(changed, name, seed, spread))
    image = images(architecture)
    assert torch.allclose(network(image), changed(image), rtol=0, atol=100 * BINS)


@pytest.mark.parametrize("name", NAMES[::4])
def test_each_edge_alone_is_exact_and_really_rescales(name: str) -> None:
    network = deploy(lively(TINY))
    changed, factors, image = copy.deepcopy(network), factors_of(network, name, 0, 1), images(TINY)
    rescale_input(changed, name, factors)
    seen: list[Tensor] = []
    for of in (network, changed):
        of.get_submodule(name).register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    assert torch.allclose(network(image), changed(image), rtol=0, atol=BINS)
    before, after = seen
    assert torch.allclose(after, before / factors[None, :, None, None], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", SHIFTS[::3])
def test_each_shift_alone_is_exact_and_really_shifts(name: str) -> None:
    network = deploy(lively(TINY))
    changed, offsets, image = copy.deepcopy(network), 50 * factors_of(network, name, 1, 1), images(TINY)
    shift_input(changed, name, offsets)
    seen: list[Tensor] = []
    for of in (network, changed):
        of.get_submodule(name).register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    assert torch.allclose(network(image), changed(image), rtol=0, atol=BINS)
    before, after = seen
    assert torch.allclose(after, before - offsets[None, :, None, None], rtol=1e-6, atol=1e-9)


def test_an_input_behind_a_relu_cannot_be_shifted() -> None:
    network = deploy(lively(TINY))
    for name in set(NAMES) - set(SHIFTS):
        with pytest.raises(AssertionError):
            shift_input(network, name, torch.zeros(1))


@pytest.mark.parametrize("defect", ["a producer forgotten", "a reader forgotten", "another producer"])
def test_a_wrong_edge_is_noticed(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the residual stream before a downsampling, which several convolutions write and read."""
    name = "backbone.downsample_layers.3.1"
    network = deploy(lively(TINY))
    changed, image = copy.deepcopy(network), images(TINY)
    right = edges(changed)[name]
    assert (len(right.producers), len(right.other_readers)) == (3, 2)
    blocks = changed.backbone.blocks
    assert isinstance(blocks[2].dwconv, nn.Conv2d)
    wrong = {
        "a producer forgotten": Edge(right.producers[:-1], right.other_readers),
        "a reader forgotten": Edge(right.producers, right.other_readers[1:]),
        "another producer": Edge((*right.producers[:-1], blocks[2].dwconv), right.other_readers),
    }[defect]
    monkeypatch.setattr(equalization, "edges", lambda _: {name: wrong})
    rescale_input(changed, name, factors_of(changed, name, 0, 1))
    assert not torch.allclose(network(image), changed(image), rtol=0, atol=1e-3)


@given(largest=st.lists(st.floats(0, 1e6), min_size=1, max_size=20), exponent=st.sampled_from((0.0, 0.5, 0.75, 1.0)))
def test_factors_are_positive_and_leave_dead_channels_alone(largest: list[float], exponent: float) -> None:
    of = torch.tensor(largest, dtype=torch.float64)
    factors = equalizing_factors(of, exponent)
    share = of / of.max().clamp_min(torch.finfo(torch.float64).tiny)
    dead = share < DEAD
    assert torch.isfinite(factors).all()
    assert (factors > 0).all()
    assert (factors <= 1).all()
    assert (factors[dead] == 1).all()
    assert torch.allclose(factors[~dead], share[~dead] ** exponent)
    if exponent == 1:
        ranges = (of / factors)[~dead]
        assert torch.allclose(ranges, of.max().expand_as(ranges))


def test_the_limit_of_a_dead_channel() -> None:
    factors = equalizing_factors(torch.tensor([1.0, 1.01 * DEAD, 0.99 * DEAD, 0.0]), 1.0)
    assert factors.tolist() == pytest.approx([1, 1.01 * DEAD, 1, 1])
    assert equalizing_factors(torch.zeros(3), 1.0).tolist() == [1, 1, 1]
