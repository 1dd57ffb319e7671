"""The chain of segments keeps the network's function from every segment on."""

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from export.graph.deploy import deploy
from export.graph.precision import half_graph
from export.graph.segments import BATCH, in_batches, run_from, segment_inputs, segments
from export.model.architecture import Architecture
from export.model.network import ConvNeXtPose
from export.plan.placement import place, segment_of
from export.runtime.pose import normalise
from tests.export.graph.test_deploy import BINS, architectures, images, lively
from tests.support.checkpoints import TINY
from tests.support.drawings import drawn_images
from tests.support.tiny_int8 import tiny_network


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


@pytest.mark.parametrize("count", [1, BATCH, BATCH + 1])
def test_inputs_of_all_segments_are_those_of_the_network(count: int) -> None:
    """Of any number of images, in order; each input leads to the network's joints."""
    network, pixels = half_graph(tiny_network(), torch.float32), drawn_images(count, TINY.input_size, 5)
    with torch.inference_mode():
        joints = in_batches(network, torch.from_numpy(normalise(pixels)))
    said: list[str] = []
    walked = list(segment_inputs(network, pixels, lambda what, _=None: said.append(what)))
    assert [segment.name for segment, _ in walked] == [segment.name for segment in segments(network)]
    assert said == [f"activations, {segment.name}" for segment, _ in walked]
    for index in (0, 1, 6, len(walked) - 1):
        assert len(walked[index][1]) == count
        assert torch.equal(run_from(network, index, walked[index][1]), joints)
