"""Exact counts, and agreement of the description with the network."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings

from export.model.architecture import HEAD_LAYERS, Architecture, cubic_upsamplings
from export.model.network import ConvNeXtPose
from tests.support.checkpoints import declared
from tests.support.grid import architectures


@pytest.mark.parametrize(
    ("architecture", "parameters", "state_elements", "gmacs"),
    [
        pytest.param(declared("XS-atto"), 3_528_008, 3_534_140, "0.823", id="XS-atto"),
        pytest.param(declared("XS"), 7_438_976, 7_448_954, "1.751", id="XS"),
        pytest.param(declared("S"), 7_438_976, 7_448_954, "1.751", id="S"),
        pytest.param(declared("M"), 7_587_008, 7_596_986, "2.819", id="M"),
        pytest.param(replace(declared("M"), upsamplings=2), 7_587_008, 7_596_986, "1.902", id="M, 2 upsamplings"),
        pytest.param(declared("L"), 8_380_352, 8_391_354, "4.305", id="L"),
        pytest.param(replace(declared("L"), upsamplings=2), 8_380_352, 8_391_354, "2.470", id="L, 2 upsamplings"),
    ],
)
def test_exact_counts(architecture: Architecture, parameters: int, state_elements: int, gmacs: str) -> None:
    assert architecture.parameters == parameters
    assert architecture.state_elements == state_elements
    assert f"{architecture.macs / 1e9:.3f}" == gmacs


@settings(max_examples=15)
@given(architecture=architectures(joints=(1, 18, 21), depth_dims=(1, 32), input_sizes=(64, 256)))
def test_the_description_has_the_names_and_shapes_of_the_network(architecture: Architecture) -> None:
    with torch.device("meta"):
        network = ConvNeXtPose(architecture)
    state = network.state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == architecture.tensor_shapes()
    assert architecture.parameters == sum(p.numel() for p in network.parameters())
    assert architecture.state_elements == sum(t.numel() for t in state.values())


@settings(max_examples=15)
@given(architecture=architectures(joints=(1,), depth_dims=(1, 2), input_sizes=(64, 128)))
def test_layers_have_the_map_sizes_of_the_network(architecture: Architecture) -> None:
    network = ConvNeXtPose(architecture).eval()
    edges: dict[str, int] = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _m, _i, out, name=name: edges.update({name: out.shape[-1]}))
    with torch.inference_mode():
        network(torch.zeros(1, 3, architecture.input_size, architecture.input_size))
    assert {layer.name: layer.size for layer in architecture.layers()}.items() <= edges.items()
    assert edges["head"] == architecture.heatmap_size


@pytest.mark.parametrize(
    ("depth_dim", "input_size", "upsamplings"),
    [
        (8, 256, 0),
        (16, 256, 1),
        (32, 256, 2),
        (64, 256, 3),
        (64, 512, 2),
        (128, 256, None),
        (48, 256, None),
        (1, 256, None),
    ],
)
def test_the_rule_of_the_cubic_volume(depth_dim: int, input_size: int, upsamplings: int | None) -> None:
    assert cubic_upsamplings(depth_dim, input_size) == upsamplings
    if upsamplings is not None:
        assert upsamplings <= HEAD_LAYERS
        cube = Architecture((1,) * 4, (1,) * 4, (1,) * 3, (3,) * 3, 18, depth_dim, upsamplings, input_size)
        assert cube.heatmap_size == depth_dim
