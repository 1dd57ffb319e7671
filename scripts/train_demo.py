"""Train the demo checkpoint on drawn figures: ``python -m scripts.train_demo``.

It is written in the released layout as ``demo/XS-atto-demo.pth``, with its record ``demo/XS-atto-demo.json``.
"""

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from bench.accuracy.tally import ERROR_MM, Tally, add_sample
from bench.datasets.drawn import DrawnFigures
from export.checkpoint.loading import read_checkpoint
from export.common.errors import CheckFailed, Failure
from export.common.files import require_writable, sha256_file, whole_file, write_json
from export.images.figures import EVALUATION_SEED, TRAIN_SEED, draw_figures
from export.model.architecture import Architecture
from export.model.config import load_config
from export.model.network import ConvNeXtPose, build_network
from export.runtime.pose import MEAN, STD, Volume, normalise

MODEL = "XS-atto"
OUT = Path("demo")
SHOW_EVERY = 10
HELD_OUT_FIGURES = 1024

RECORD_SCHEMA = 3
"""1 also described the data, the layout, the machine and more versions; 2 also had errors in bins and by joint."""
MOST_BYTES = 8_000_000
EPOCH_FIGURES = 1_000
"""Figures per ``epoch`` of the file: the released files have epochs, drawn figures do not."""
NORM_BATCHES = 64
STEM = "backbone.downsample_layers.0"
STEM_SPREAD = 64.0
"""Standard deviation of the stem convolution's output in the file. Pixels are not divided by 255, so after training it
is some hundreds, and the variance in the norm does not fit into FP16."""

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
    """Normalise (N, S, S, 3) uint8 as ``export.runtime.pose.normalise`` does; return (N, 3, S, S), channels last."""
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


def train(trainer: Trainer) -> float:
    """Train until the plan ends, and print progress; return the seconds that it took."""
    plan, started = trainer.plan, time.perf_counter()
    while trainer.step < plan.steps:
        loss = trainer.take_step(training_batch(trainer.step, plan.batch, trainer.architecture))
        if trainer.step % SHOW_EVERY == 0:
            seconds = time.perf_counter() - started
            print(f"step {trainer.step}/{plan.steps}  loss {loss:.3f}  {seconds:.0f} s", file=sys.stderr, flush=True)
    return time.perf_counter() - started


def release(trainer: Trainer, seconds: float, folder: Path, name: str, figures: int = HELD_OUT_FIGURES) -> float:
    """Write ``NAME-demo.pth`` and its record ``NAME-demo.json``; return the MPJPE of the file in mm.

    Raises:
        CheckFailed: a weight does not fit into FP16, or the file is too large.
    """
    network = averaged_network(trainer)
    settle_norms(network, trainer.plan.batch)
    checkpoint = folder / f"{name}-demo.pth"
    write_checkpoint(network, checkpoint, epoch=trainer.step * trainer.plan.batch // EPOCH_FIGURES)
    written = build_network(trainer.architecture, read_checkpoint(checkpoint).tensors)
    mpjpe_mm = held_out_mpjpe(written, figures)
    record: dict[str, Any] = {
        "schema_version": RECORD_SCHEMA,
        "checkpoint": {
            "file": checkpoint.name,
            "sha256": sha256_file(checkpoint),
            "size_bytes": checkpoint.stat().st_size,
        },
        "model": name,
        "architecture": asdict(trainer.architecture),
        "training": {"plan": asdict(trainer.plan), "wall_seconds": round(seconds), "torch": torch.__version__},
        "held_out": {"seed": EVALUATION_SEED, "figures": figures, "mpjpe_mm": mpjpe_mm},
        "held_out_before_rounding_mpjpe_mm": held_out_mpjpe(network, figures),
    }
    write_json(checkpoint.with_suffix(".json"), record)
    return mpjpe_mm


@torch.inference_mode()
def held_out_mpjpe(network: ConvNeXtPose, count: int) -> float:
    """Return a network's MPJPE in mm on figures that no training uses, measured as ``convnextpose evaluate`` does."""
    architecture, tally = network.architecture, Tally()
    dataset, volume = DrawnFigures(count, architecture.input_size), Volume.from_architecture(architecture)
    for index in range(count):
        sample = dataset.sample(index)
        bins = network(torch.from_numpy(normalise(sample.crop[None])))[0].double().numpy()
        add_sample(tally, dataset, sample, volume, bins, None)
    mean_mm = tally.mean(ERROR_MM)
    assert mean_mm is not None
    return mean_mm


def averaged_network(trainer: Trainer) -> ConvNeXtPose:
    """Return a copy of the network with the running average of its weights."""
    network = ConvNeXtPose(trainer.architecture)
    network.load_state_dict(trainer.network.state_dict())
    network.load_state_dict(trainer.averaged, strict=False)
    return network.requires_grad_(False).eval()


def settle_norms(network: ConvNeXtPose, batch: int, batches: int = NORM_BATCHES) -> None:
    """Give every norm its mean statistics over training figures in FP32.

    Statistics from the training belong to earlier weights and to bfloat16.
    """
    update_bn((normalised(training_batch(step, batch, network.architecture)[0]) for step in range(batches)), network)


def write_checkpoint(network: ConvNeXtPose, path: Path, epoch: int) -> None:
    """Save in the released layout, in FP16 and without the optimizer's state."""
    state = {f"module.{name}": in_half(name, t) for name, t in tame_stem(network.state_dict()).items()}
    with whole_file(path) as partial:
        torch.save({"epoch": epoch, "network": state}, partial)
        if partial.stat().st_size > MOST_BYTES:
            raise CheckFailed(
                "the demo checkpoint is too large", f"{partial.stat().st_size} bytes", f"allowed are {MOST_BYTES}"
            )


def tame_stem(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Scale the stem without changing the function: ``norm(a * conv(x)) = norm(conv(x))`` for any a > 0.

    a is a power of two per channel, so nothing is rounded; only the norm's epsilon has a little more weight.
    """
    deviation = state[f"{STEM}.1.running_var"].sqrt()
    scale = torch.exp2(torch.round(torch.log2(STEM_SPREAD / deviation)))
    changed = {
        f"{STEM}.0.weight": state[f"{STEM}.0.weight"] * scale[:, None, None, None],
        f"{STEM}.0.bias": state[f"{STEM}.0.bias"] * scale,
        f"{STEM}.1.running_mean": state[f"{STEM}.1.running_mean"] * scale,
        f"{STEM}.1.running_var": state[f"{STEM}.1.running_var"] * scale**2,
    }
    return {**state, **changed}


def in_half(name: str, tensor: Tensor) -> Tensor:
    """Convert a tensor to FP16; counters stay.

    Raises:
        CheckFailed: a value is too large for FP16, or a variance becomes zero.
    """
    if not tensor.is_floating_point():
        return tensor.clone()
    half = tensor.detach().half().contiguous()
    vanished = name.endswith("running_var") and not bool((half > 0).all())
    if not bool(half.isfinite().all()) or vanished:
        raise CheckFailed(
            f"{name} does not fit into FP16",
            f"values from {tensor.min().item():g} to {tensor.max().item():g}",
            "train with more weight decay, or write the checkpoint in FP32",
        )
    return half


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_demo", description=__doc__)
    parser.add_argument("--model", default=MODEL, help="another declared model, or a .yaml file")
    parser.add_argument("--steps", type=int, default=2940)
    parser.add_argument("--threads", type=int, help="number of threads of torch; the same number gives the same bits")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the checkpoint and its record")
    options = parser.parse_args()
    cv2.setNumThreads(1)  # its operations here are small
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        config = load_config(options.model)
        require_writable(options.out)
        trainer = Trainer(config.architecture, Plan(steps=options.steps))
        seconds = train(trainer)
        print("measuring norm statistics and accuracy on held-out figures", file=sys.stderr)
        mpjpe_mm = release(trainer, seconds, options.out, config.name)
    except Failure as failure:
        print(failure.report(), file=sys.stderr)
        return failure.exit_code
    path = options.out / f"{config.name}-demo.pth"
    print(f"{path}: {mpjpe_mm:.1f} mm MPJPE on {HELD_OUT_FIGURES} held-out figures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
