"""The chain of segments keeps the network's function from every segment on."""

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from export.graph.deploy import deploy
from export.graph.precision import half_graph
from export.graph.segments import run_from, segments
from export.model.architecture import Architecture
from export.model.network import ConvNeXtPose
from export.plan.placement import place, segment_of
from tests.export.graph.test_deploy import BINS, architectures, images, lively


def half_form(reference: ConvNeXtPose) -> ConvNeXtPose:
    return half_graph(reference, torch.float64)


@pytest.mark.parametrize("form", [lambda network: network, deploy, half_form], ids=["released", "deploy", "half"])
@settings(max_examples=8)
@given(architecture=architectures)
def test_every_convolution_lies_in_exactly_one_segment(form: object, architecture: Architecture) -> None:
    network = form(lively(architecture))  # type: ignore[operator]
    chain = segments(network)
    found = [name for segment in chain for name in segment.convs]
    expected = {name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    assert len(found) == len(set(found))
    assert set(found) == expected == {conv.name for conv in place(architecture, "fp16")}
    assert found == [conv.name for conv in place(architecture, "fp16")]
    for segment in chain:
        assert network.get_submodule(segment.name) is segment.module
        assert {segment_of(name) for name in segment.convs} <= {segment.name}
        for name, conv in segment.convs.items():
            assert network.get_submodule(name) is conv


@settings(max_examples=10)
@given(architecture=architectures)
def test_the_chain_computes_what_the_network_computes(architecture: Architecture) -> None:
    """From every place on, in double precision."""
    network = deploy(lively(architecture))
    image = images(architecture)
    x, joints = network.entry(image), network(image)
    for index, segment in enumerate(segments(network)):
        assert torch.allclose(run_from(network, index, x), joints, rtol=0, atol=BINS), segment.name
        x = segment.module(x)
    assert torch.allclose(network.decode(x), joints, rtol=0, atol=BINS)
