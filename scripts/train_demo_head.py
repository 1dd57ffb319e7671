"""Adapt the demo checkpoint's head to one more upsampling: ``python -m scripts.train_demo_head``.

An upsampling with aligned corners keeps a joint at its fraction of the map. From 32 to 64 bins, bin s becomes
63 s / 31 instead of 2 s, an error of 1.6 %. A least-squares fit of the last layer does not generalize, so the whole
head is trained on the outputs of the demo checkpoint (distillation). The backbone does not change, and its output is
computed once. Most steps run on the small map, with targets scaled to it; the last ones run on the finer map.
``export.synthetic`` grows M and L from the result.
"""

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from export.checkpoint.loading import read_checkpoint
from export.images.figures import GROWTH_SEED, draw_figures
from export.images.norm_statistics import observe_norms
from export.model.architecture import Architecture
from export.model.config import load_config
from export.model.network import ConvNeXtPose, Head, build_network
from export.runtime.pose import normalise
from scripts.train_demo import MODEL, expectation, held_out_mpjpe, in_half, log_marginals

CHUNK = 16
RATES = (5e-4, 2e-4)
"""Learning rates on the small map and on the finer one."""
WARMUP_STEPS = 10
COOLDOWN = 0.7
"""Share of the steps in which the learning rate falls linearly to zero."""
SHOW_EVERY = 25
HELD_OUT_FIGURES = 256


@dataclass(frozen=True, eq=False)
class Targets:
    """Training data of the head."""

    features: Tensor
    """(N, C, 8, 8) output of the backbone."""
    joints: Tensor
    """(N, J, 3) target joints in bins of the finer map."""


@torch.no_grad()
def make_targets(network: ConvNeXtPose, count: int) -> Targets:
    """Run ``network`` on ``count`` figures, and scale its joints to bins of a map twice as fine."""
    finer = torch.tensor([2.0, 2.0, 1.0])
    features, joints = [], []
    for first in range(0, count, CHUNK):
        figures = draw_figures(min(CHUNK, count - first), GROWTH_SEED, first)
        features.append(network.backbone(torch.from_numpy(normalise(np.stack([f.image for f in figures])))))
        joints.append(network.decode(network.head(features[-1])) * finer)
    return Targets(torch.cat(features), torch.cat(joints))


def train(head: Head, architecture: Architecture, finer: Architecture, data: Targets, steps: int, rate: float) -> None:
    """Train with Adam on the distance in bins; the norms' statistics stay fixed.

    Args:
        head: the head of ``architecture``, trained in place.
        architecture: architecture of the map to train on.
        finer: architecture of the map that ``data.joints`` refer to.
        data: the backbone's features, and the target joints.
        steps: number of steps.
        rate: the largest learning rate.
    """
    stretch = (architecture.heatmap_size - 1) / (finer.heatmap_size - 1)
    joints = data.joints * torch.tensor([stretch, stretch, 1.0])
    head.requires_grad_(True)
    optimizer = torch.optim.Adam(head.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(0)
    batches: list[Tensor] = []
    started = time.perf_counter()
    for step in range(steps):
        batches = batches or list(torch.split(torch.randperm(len(data.features), generator=generator), CHUNK))
        chosen = batches.pop()
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / WARMUP_STEPS, (steps - step) / (COOLDOWN * steps))
        answer = expectation(log_marginals(head(data.features[chosen]), architecture))
        loss = (answer - joints[chosen]).abs().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (step + 1) % SHOW_EVERY == 0:
            seconds = time.perf_counter() - started
            print(f"step {step + 1}/{steps}  {loss.item():.4f} bins  {seconds:.0f} s", file=sys.stderr, flush=True)
    head.requires_grad_(False)


@torch.no_grad()
def settle_norms(head: Head, features: Tensor) -> None:
    """Give every norm of the head the statistics of its input without changing the function.

    With mean' and var' in place of mean and var: weight' = weight sqrt((var' + eps) / (var + eps)) and
    bias' = bias + weight (mean' - mean) / sqrt(var + eps).
    """
    with observe_norms(head) as moments:
        for part in torch.split(features, CHUNK):
            head(part)
    for name, moment in moments.items():
        norm, statistics = head.get_submodule(name), moment.statistics()
        mean, variance = (torch.from_numpy(values).float() for values in (statistics.mean, statistics.variance))
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        before, after = (norm.running_var + norm.eps).sqrt(), (variance + norm.eps).sqrt()
        norm.bias.add_(norm.weight * (mean - norm.running_mean) / before)
        norm.weight.mul_(after / before)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


def main() -> None:
    """Run the command."""
    config = load_config(MODEL)
    assert config.demo is not None
    assert config.demo_head is not None
    parser = argparse.ArgumentParser(prog="python -m scripts.train_demo_head", description=__doc__)
    parser.add_argument("--steps", type=int, nargs=2, default=(300, 120), help="on the small map, on the finer one")
    parser.add_argument("--figures", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", type=Path, default=Path(config.demo), help="the demo checkpoint")
    parser.add_argument("--out", type=Path, default=Path(config.demo_head), help="the file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    architecture, tensors = config.architecture, read_checkpoint(options.start).tensors
    finer = replace(architecture, upsamplings=architecture.upsamplings + 1)
    network, grown = build_network(architecture, tensors), build_network(finer, tensors)
    data = make_targets(network, options.figures)
    train(network.head, architecture, finer, data, options.steps[0], RATES[0])
    grown.head.load_state_dict(network.head.state_dict())
    train(grown.head, finer, finer, data, options.steps[1], RATES[1])
    settle_norms(grown.head, data.features[: 16 * CHUNK])
    head = {f"head.{name}": in_half(name, tensor) for name, tensor in grown.head.state_dict().items()}
    options.out.write_bytes(save(head))
    mpjpe_mm = held_out_mpjpe(build_network(finer, {**tensors, **head}), HELD_OUT_FIGURES)
    print(f"{options.out}: {mpjpe_mm:.2f} mm MPJPE on {HELD_OUT_FIGURES} held-out figures")


if __name__ == "__main__":
    main()
