"""Each rewriting alone, and all together, keep the function up to 1e-9 bins in FP64."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from export.graph.deploy import MatrixDecode, decode_by_matrices, deploy, fold_norms
from export.model.architecture import Architecture
from export.model.network import ConvNeXtPose
from tests.support import grid
from tests.support.checkpoints import TINY

BINS = 1e-9

architectures = grid.architectures(
    joints=range(1, 22), depth_dims=range(1, 17), input_sizes=(64, 128), blocks=2, width=12
)


def lively(architecture: Architecture, seed: int = 0) -> ConvNeXtPose:
    """A network in double precision in which every weight and every statistic matters."""
    torch.manual_seed(seed)
    network = ConvNeXtPose(architecture).double().requires_grad_(False).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.3, 3)
            module.weight.normal_(1, 0.3)
            module.bias.normal_()
    final = network.head.final_layer
    final.weight.mul_(3)
    return network


def images(architecture: Architecture) -> torch.Tensor:
    return 100 * torch.randn(2, 3, architecture.input_size, architecture.input_size, dtype=torch.float64)


@pytest.mark.parametrize("rewrite", [fold_norms, decode_by_matrices, None])
@settings(max_examples=12)
@given(architecture=architectures)
def test_rewriting_is_exact(rewrite: Callable[[ConvNeXtPose], None] | None, architecture: Architecture) -> None:
    reference = lively(architecture)
    if rewrite is None:
        rewritten = deploy(reference)
    else:
        rewritten = copy.deepcopy(reference)
        rewrite(rewritten)
    image = images(architecture)
    assert torch.allclose(reference(image), rewritten(image), rtol=0, atol=BINS)


def test_every_norm_is_folded_but_the_last() -> None:
    network = deploy(lively(TINY))
    left = [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert left == ["backbone.norm"]


@pytest.mark.parametrize(("upsamplings", "moved"), [(0, False), (2, False), (3, True)])
def test_upsampling_moves_only_if_it_is_the_last_layer_before_the_logits(upsamplings: int, moved: bool) -> None:
    network = deploy(lively(replace(TINY, upsamplings=upsamplings)))
    assert isinstance(network.decode, MatrixDecode)
    assert network.decode.doubles is moved
    assert isinstance(network.head.layers[-1].upsample, nn.Identity)


def test_the_reference_is_left_alone() -> None:
    reference = lively(TINY)
    before = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    deploy(reference)
    assert reference.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in reference.state_dict().items())
