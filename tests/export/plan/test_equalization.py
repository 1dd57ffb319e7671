"""Rescaled and shifted inputs of quantizable convolutions leave the joints unchanged."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from export.graph.deploy import deploy
from export.graph.precision import half_graph
from export.model.architecture import Architecture
from export.plan.equalization import DEAD, Edge, edges, equalizing_factors, rescale_input, shift_input
from export.plan.placement import INT8_RULE, conv_kind, place
from tests.export.graph.test_deploy import BINS, architectures, images, lively
from tests.support.checkpoints import TINY


def random_factors(edge: Edge, seed: int, spread: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.exp(spread * torch.randn(edge.reader.in_channels, generator=generator, dtype=torch.float64))


@settings(max_examples=8)
@given(architecture=architectures)
def test_every_quantizable_convolution_has_exactly_one_edge(architecture: Architecture) -> None:
    network = deploy(lively(architecture))
    network_edges = edges(network)
    assert network_edges.keys() == {conv.name for conv in place(architecture, "int8") if conv.precision == "int8"}
    assert all(INT8_RULE[conv_kind(name)][0] for name in network_edges)
    for name, edge in network_edges.items():
        assert edge.reader is network.get_submodule(name)
        channels = edge.reader.in_channels
        assert {producer.out_channels for producer in edge.producers} == {channels}
        assert all(reader.groups == reader.in_channels == channels for reader in edge.other_readers)
        assert edge.can_shift == name.endswith((".pwconv1", ".pwconv"))
        assert not edge.can_shift or edge.producers[0].groups == channels
    producers = [id(producer) for edge in network_edges.values() for producer in edge.producers]
    assert len(producers) == len(set(producers))


@pytest.mark.parametrize("form", [deploy, lambda network: half_graph(network, torch.float64)], ids=["deploy", "half"])
@settings(max_examples=8)
@given(architecture=architectures, seed=st.integers(0, 2**31), spread=st.floats(0.1, 3))
def test_rescaling_and_shifting_every_input_is_exact(
    form: object, architecture: Architecture, seed: int, spread: float
) -> None:
    network = form(lively(architecture))  # type: ignore[operator]
    changed = copy.deepcopy(network)
    for edge in edges(changed).values():
        if edge.can_shift:
            shift_input(edge, 10 * torch.log(random_factors(edge, seed, 1)))
        rescale_input(edge, random_factors(edge, seed, spread))
    image = images(architecture)
    assert torch.allclose(network(image), changed(image), rtol=0, atol=100 * BINS)


def test_an_input_behind_a_relu_cannot_be_shifted() -> None:
    for edge in edges(deploy(lively(TINY))).values():
        if not edge.can_shift:
            with pytest.raises(AssertionError):
                shift_input(edge, torch.zeros(1))


@given(largest=st.lists(st.floats(0, 1e6), min_size=1, max_size=20), exponent=st.sampled_from((0.0, 0.5, 0.75, 1.0)))
def test_factors_are_positive_and_leave_dead_channels_alone(largest: list[float], exponent: float) -> None:
    values = torch.tensor(largest, dtype=torch.float64)
    factors = equalizing_factors(values, exponent)
    share = values / values.max().clamp_min(torch.finfo(torch.float64).tiny)
    dead = share < DEAD
    assert torch.isfinite(factors).all()
    assert (factors > 0).all()
    assert (factors <= 1).all()
    assert (factors[dead] == 1).all()
    assert torch.allclose(factors[~dead], share[~dead] ** exponent)
    if exponent == 1:
        ranges = (values / factors)[~dead]
        assert torch.allclose(ranges, values.max().expand_as(ranges))


def test_the_limit_of_a_dead_channel() -> None:
    factors = equalizing_factors(torch.tensor([1.0, 1.01 * DEAD, 0.99 * DEAD, 0.0]), 1.0)
    assert factors.tolist() == pytest.approx([1, 1.01 * DEAD, 1, 1])
