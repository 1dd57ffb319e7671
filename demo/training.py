"""Training: batches of drawn figures, the loss, and the learning rate."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from export.images.figures import TRAIN_SEED, draw_figures
from export.model.architecture import Architecture
from export.model.network import ConvNeXtPose
from export.model.pose import MEAN, STD

Batch = tuple[Tensor, Tensor]
"""(N, 256, 256, 3) uint8 RGB and (N, 18, 3) float32 bins."""


@dataclass(frozen=True)
class Plan:
    """Hyperparameters of a training."""

    steps: int
    batch: int = 16
    rate: float = 1.5e-3
    """The learning rate between warm-up and cool-down."""
    warmup_steps: int = 200
    cooldown: float = 0.2
    """Share of the steps in which the learning rate falls to zero."""
    weight_decay: float = 0.02
    average: float = 0.998
    """Decay of the running average of the weights, per step."""
    marginal_weight: float = 0.2
    """Weight of the marginals' cross-entropy, relative to the distance in bins."""
    marginal_spread_bins: float = 0.7
    seed: int = 0
    bfloat16: bool = True
    """True if convolutions run in bfloat16; weights, decode and loss are always float32."""


def training_batch(step: int, size: int, architecture: Architecture) -> Batch:
    """Draw the figures of one training step; no figure occurs twice."""
    figures = draw_figures(size, TRAIN_SEED, first=step * size)
    bins = [figure.joints_bins(architecture.heatmap_size, architecture.depth_dim) for figure in figures]
    images = np.stack([figure.image for figure in figures])
    return torch.from_numpy(images), torch.from_numpy(np.stack(bins).astype(np.float32))


def normalised(images: Tensor) -> Tensor:
    """Normalise (N, S, S, 3) uint8 as ``export.model.pose.normalise`` does; return (N, 3, S, S), channels last."""
    pixels = (images.float() - torch.tensor(MEAN)) / torch.tensor(STD)
    return pixels.permute(0, 3, 1, 2)


def learning_rate(step: int, plan: Plan) -> float:
    """Return the learning rate of a step, counted from 0: linear warm-up, constant, linear fall to zero."""
    up = (step + 1) / plan.warmup_steps
    down = (plan.steps - step) / (plan.cooldown * plan.steps + 1)
    return plan.rate * min(up, 1.0, down)


class Trainer:
    """The network, its running average and the optimizer, after ``step`` steps."""

    def __init__(self, architecture: Architecture, plan: Plan) -> None:
        torch.manual_seed(plan.seed)
        self.architecture = architecture
        self.plan = plan
        self.step = 0
        self.network = ConvNeXtPose(architecture).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=plan.rate, weight_decay=plan.weight_decay, fused=True
        )

    def take_step(self, batch: Batch) -> float:
        """Take one optimizer step on a batch; return its loss."""
        images, bins = batch
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.plan)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.plan.bfloat16):
            logits = self.network.head(self.network.backbone(normalised(images)))
        marginals = log_marginals(logits.float(), self.architecture)
        distance = (expectation(marginals) - bins).abs()
        entropy = cross_entropy(marginals, bins, self.plan.marginal_spread_bins)
        loss = distance.mean() + self.plan.marginal_weight * entropy
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1
        self._average()
        return loss.item()

    def _average(self) -> None:
        keep = min(self.plan.average, self.step / (self.step + 9))
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                self.averaged[name].lerp_(parameter, 1 - keep)


def log_marginals(logits: Tensor, architecture: Architecture) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probabilities along x (N, J, W), y (N, J, H) and z (N, J, D) of (N, J * D, H, W) logits."""
    joints, depth, edge = architecture.joints, architecture.depth_dim, architecture.heatmap_size
    volume = logits.reshape(-1, joints, depth * edge * edge).softmax(dim=2)
    volume = volume.reshape(-1, joints, depth, edge * edge)
    plane = volume.sum(dim=2).reshape(-1, joints, edge, edge)
    smallest = 1e-9
    return (
        (plane.sum(dim=2) + smallest).log(),
        (plane.sum(dim=3) + smallest).log(),
        (volume.sum(dim=3) + smallest).log(),
    )


def expectation(marginals: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return (N, J, 3) expected bins, as the network's decode does."""
    axes = [(log_p.exp() * torch.arange(float(log_p.shape[2]))).sum(dim=2) for log_p in marginals]
    return torch.stack(axes, dim=2)


def cross_entropy(marginals: tuple[Tensor, Tensor, Tensor], bins: Tensor, spread: float) -> Tensor:
    """Return the mean cross-entropy with a Gaussian of ``spread`` bins around the true joint.

    With a flat volume the distance alone has almost the same gradient for every bin.
    """
    total = torch.zeros(())
    for axis, log_p in enumerate(marginals):
        offset = torch.arange(float(log_p.shape[2])) - bins[..., axis, None]
        bell = (-0.5 * (offset / spread) ** 2).softmax(dim=2)
        total = total - (bell * log_p).sum(dim=2).mean()
    return total / len(marginals)
