"""Release of a finished training: a file in the released layout, and its record."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from demo.accuracy import HELD_OUT_FIGURES, Accuracy, held_out_accuracy
from demo.training import Trainer, normalised, training_batch
from export.checkpoint.loading import read_checkpoint
from export.common.errors import CheckFailed
from export.common.files import sha256_file, whole_file, write_json
from export.model.network import ConvNeXtPose, build_network

RECORD_SCHEMA = 2
"""1 also described the data, the layout, the machine and more versions."""
MOST_BYTES = 8_000_000
EPOCH_FIGURES = 1_000
"""Figures per ``epoch`` of the file: the released files have epochs, drawn figures do not."""
NORM_BATCHES = 64
STEM = "backbone.downsample_layers.0"
STEM_SPREAD = 64.0
"""Standard deviation of the stem convolution's output in the file. Pixels are not divided by 255, so after training it
is some hundreds, and the variance in the norm does not fit into FP16."""


def release(trainer: Trainer, seconds: float, folder: Path, name: str, figures: int = HELD_OUT_FIGURES) -> Accuracy:
    """Write ``NAME-demo.pth`` and its record ``NAME-demo.json``; return the accuracy of the file.

    Raises:
        CheckFailed: a weight does not fit into FP16, or the file is too large.
    """
    network = averaged_network(trainer)
    settle_norms(network, trainer.plan.batch)
    checkpoint = folder / f"{name}-demo.pth"
    write_checkpoint(network, checkpoint, epoch=trainer.step * trainer.plan.batch // EPOCH_FIGURES)
    accuracy = held_out_accuracy(build_network(trainer.architecture, read_checkpoint(checkpoint).tensors), figures)
    unrounded = held_out_accuracy(network, figures)
    write_json(folder / f"{name}-demo.json", record(trainer, seconds, checkpoint, name, accuracy, unrounded))
    return accuracy


def averaged_network(trainer: Trainer) -> ConvNeXtPose:
    """Return a copy of the network with the running average of its weights."""
    network = ConvNeXtPose(trainer.architecture)
    network.load_state_dict(trainer.network.state_dict())
    network.load_state_dict(trainer.averaged, strict=False)
    return network.requires_grad_(False).eval()


@torch.no_grad()
def settle_norms(network: ConvNeXtPose, batch: int, batches: int = NORM_BATCHES) -> None:
    """Give every norm its mean statistics over training figures in FP32.

    Statistics from the training belong to earlier weights and to bfloat16.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    for step in range(batches):
        network(normalised(training_batch(step, batch, network.architecture)[0]))
    network.eval()
    for norm in norms:
        norm.momentum = 0.1


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


def record(
    trainer: Trainer, seconds: float, checkpoint: Path, name: str, accuracy: Accuracy, unrounded: Accuracy
) -> dict[str, Any]:
    """Return the record of a file: its training and its accuracy."""
    return {
        "schema_version": RECORD_SCHEMA,
        "checkpoint": {
            "file": checkpoint.name,
            "sha256": sha256_file(checkpoint),
            "size_bytes": checkpoint.stat().st_size,
        },
        "model": name,
        "architecture": asdict(trainer.architecture),
        "training": {"plan": asdict(trainer.plan), "wall_seconds": round(seconds), "torch": torch.__version__},
        "held_out": asdict(accuracy),
        "held_out_before_rounding_mpjpe_mm": unrounded.mpjpe_mm,
    }
