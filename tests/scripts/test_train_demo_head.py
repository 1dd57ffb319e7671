"""The finer demo head: targets, training, and norms that keep the function."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from export.model.network import ConvNeXtPose, Head, build_network
from scripts import train_demo_head
from scripts.train_demo import expectation, log_marginals
from scripts.train_demo_head import Targets, make_targets, settle_norms, train
from tests.support.checkpoints import TINY, alive_weights

FINER = replace(TINY, upsamplings=3)


def learned(network: ConvNeXtPose, data: Targets) -> float:
    """Mean distance from the targets in bins of the finer map, on the small map."""
    answer = expectation(log_marginals(network.head(data.features), TINY))
    return float((answer * torch.tensor([63 / 31, 63 / 31, 1]) - data.joints).abs().mean())


def test_targets_are_the_answers_on_a_map_twice_as_fine() -> None:
    network = build_network(TINY, alive_weights())
    data = make_targets(network, 3)
    assert data.features.shape == (3, 32, 8, 8)
    answers = expectation(log_marginals(network.head(data.features), TINY))
    assert torch.allclose(data.joints, answers * torch.tensor([2.0, 2.0, 1.0]), atol=1e-3)


def test_training_comes_nearer_to_the_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_demo_head, "WARMUP_STEPS", 1)
    network = build_network(TINY, alive_weights())
    data = make_targets(network, 4)
    before = learned(network, data)
    train(network.head, TINY, FINER, data, steps=40, rate=1e-5)
    assert learned(network, data) < 0.9 * before


def test_settled_norms_have_the_statistics_of_their_inputs_and_the_same_function() -> None:
    head: Head = build_network(TINY, alive_weights()).head
    features = torch.randn(6, 32, 8, 8, generator=torch.Generator().manual_seed(0)) + 0.5
    before = head(features)
    settle_norms(head, features)
    assert torch.allclose(head(features), before, atol=1e-3 * float(before.abs().max()))
    first = head.layers[0]
    assert isinstance(first.norm, nn.BatchNorm2d)
    assert first.norm.running_mean is not None
    assert torch.allclose(first.norm.running_mean, first.dwconv(features).mean(dim=(0, 2, 3)), atol=1e-4)
