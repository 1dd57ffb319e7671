"""Equalization and scale of each INT8 convolution's input, chosen on calibration images."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from export.common.errors import CheckFailed
from export.common.progress import Progress, no_progress
from export.graph.segments import BATCH, Segment
from export.images.image_set import Images
from export.model.network import ConvNeXtPose
from export.plan.equalization import (
    edges,
    equalizing_factors,
    rescale_input,
    rescale_stream,
    shift_input,
    smallest_factors,
)
from export.plan.patches import NOT_FINITE, SEED, sampled_inputs
from export.plan.placement import PlannedConv
from export.plan.planned import fake_quantize
from export.plan.scales import LARGEST, stored_scale
from export.runtime.pose import Volume, normalise

EXPONENTS = (0.0, 0.5, 0.75, 1.0)
"""Candidates for the exponent of the equalization."""
RANGES = (0.35, 0.5, 0.7, 0.85, 1.0, 1.3, 1.7)
"""Candidates for the largest INT8 input, as a share of the largest calibration value; other images may exceed it."""
ORDINARY = 64.0
"""Largest value of every INT8 input after rescaling. Behind the stem of a released network values are so small
(variances of 1e-7) that scales would be subnormal in FP16, and lose their digits."""
CHOICE_ROWS = 1024
"""Number of input patches for the choice of exponent and range."""
IMPORTANCE_IMAGES = 8


@dataclass(frozen=True, eq=False)
class Scaling:
    """Scaling of the input of one INT8 convolution."""

    exponent: float
    factors: Tensor
    """(C,) divisors of its channels."""
    offsets: Tensor
    """(C,) subtracted before."""
    input_scale: float


def scale_inputs(
    network: ConvNeXtPose, convs: tuple[PlannedConv, ...], images: Images, progress: Progress = no_progress
) -> tuple[PlannedConv, ...]:
    """Choose equalization and scale for the input of every INT8 convolution, and change ``network`` in place.

    A convolution with a known exponent, from a user's plan, keeps it, even if the plan has it in FP16. Ranges come from
    one half of the images; the choice has the least error on the other half, weighted by each output channel's effect
    on the joints.

    Raises:
        CheckFailed: values are not finite, or FP16 cannot hold a scale.
    """
    planned = {conv.name: conv for conv in convs if conv.precision == "int8" or conv.equalization is not None}
    edge_of = edges(network)
    importance = output_importance(network, images[:IMPORTANCE_IMAGES])
    scalings: dict[str, Scaling] = {}
    streams: dict[str, Tensor] = {}
    for segment, x, samples in sampled_inputs(network, images, planned, progress):
        if _only_written(segment):
            streams[segment.name] = x.abs().amax(dim=(0, 2, 3))
        for name, patches in samples.items():
            known = planned[name].equalization
            exponents = EXPONENTS if known is None else (known,)
            conv, rows = segment.convs[name], patches[0, :, :-1]
            scalings[name] = _choose(conv, rows, importance[name], exponents, edge_of[name].can_shift)
    if overflowing := [name for name, scaling in scalings.items() if not math.isfinite(scaling.input_scale)]:
        problem = "int8 is not possible: fp16, the type of the rest of its graph, cannot hold the scales of inputs"
        raise CheckFailed(problem, ", ".join(overflowing), "use --precision bf16, which has the range of fp32")
    for name, scaling in scalings.items():
        edge = edge_of[name]
        if edge.can_shift:
            shift_input(edge, scaling.offsets)
        smallest = smallest_factors(edge.producers).to(scaling.factors.dtype)
        rescale_input(edge, torch.maximum(scaling.factors, smallest))
    for reader, largest in streams.items():
        rescale_stream(network, reader, _ordinary_factor(largest))
    return tuple(
        replace(conv, input_scale=scalings[conv.name].input_scale, equalization=scalings[conv.name].exponent)
        if conv.name in scalings
        else conv
        for conv in convs
    )


def output_importance(network: ConvNeXtPose, images: Images) -> dict[str, Tensor]:
    """Return each convolution's effect of an error in each output channel on the joints.

    It is the mean square gradient of the joints, in mm, along a random direction: the diagonal of a Gauss-Newton
    matrix.

    Returns:
        Convolution → (O,) in mm² per square unit of the channel, up to a factor.

    Raises:
        CheckFailed: it is not finite.
    """
    generator = torch.Generator().manual_seed(SEED)
    bin_mm = torch.tensor(np.asarray(Volume.from_architecture(network.architecture).bin_mm), dtype=torch.float32)
    outputs: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> None:
        value.retain_grad()
        outputs[name] = value

    convs = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    hooks = [
        conv.register_forward_hook(lambda _module, _inputs, value, name=name: keep(name, value))
        for name, conv in convs.items()
    ]
    total: dict[str, Tensor] = {}
    with torch.enable_grad():
        for start in range(0, len(images), BATCH):
            x = torch.from_numpy(normalise(images[start : start + BATCH])).requires_grad_(True)
            joints = network(x) * bin_mm
            joints.backward(torch.randn(joints.shape, generator=generator))
            for name, value in outputs.items():
                assert value.grad is not None
                total[name] = total.get(name, torch.zeros(1)) + value.grad.square().sum(dim=(0, 2, 3))
    for hook in hooks:
        hook.remove()
    if broken := [name for name, value in total.items() if not torch.isfinite(value).all()]:
        raise CheckFailed("the network's gradients on calibration images are not finite", broken[0], NOT_FINITE)
    return {name: value.detach() for name, value in total.items()}


def _choose(conv: nn.Conv2d, rows: Tensor, importance: Tensor, exponents: tuple[float, ...], shift: bool) -> Scaling:
    """Return the exponent and range with the least weighted error of the outputs."""
    half = len(rows) // 2
    low, high = _channel_range(conv, rows[:half])
    offsets = (low + high) / 2 if shift else torch.zeros_like(low)
    largest = torch.maximum(high - offsets, offsets - low)
    kernel = conv.weight[0, 0].numel()
    places = torch.linspace(half, len(rows) - 1, min(CHOICE_ROWS, len(rows) - half)).long()
    inputs, weight = rows[places] - offsets.repeat_interleave(kernel), conv.weight.detach().flatten(1)
    tiny, unit = torch.finfo(torch.float32).tiny, _ordinary_factor(largest)
    best, least = Scaling(exponents[0], torch.ones_like(largest), offsets, math.inf), math.inf
    for exponent in exponents:
        factors = equalizing_factors(largest, exponent)
        by_column = factors.repeat_interleave(kernel)
        scaled, rescaled = inputs / by_column, weight * by_column
        scales = rescaled.abs().amax(dim=1, keepdim=True).clamp_min(tiny) / LARGEST
        rounded, exact = torch.round(rescaled / scales) * scales, scaled @ rescaled.T
        top = float((largest / factors).max().clamp_min(tiny))
        for share in RANGES:
            input_scale = top * share / LARGEST
            difference = fake_quantize(scaled, input_scale) @ rounded.T - exact
            error = float((difference.square().mean(dim=0) * importance).sum())
            if error < least:
                best = Scaling(exponent, factors * unit, offsets, stored_scale(input_scale / float(unit)))
                least = error
    return best


def _ordinary_factor(largest: Tensor) -> Tensor:
    """Return the divisor that brings the largest of these values to ``ORDINARY``; 1 if all are zero."""
    top = largest.max()
    return torch.where(top > 0, top / ORDINARY, torch.ones_like(top))


def _only_written(segment: Segment) -> bool:
    """Return whether INT8 convolutions write this segment's input and none reads it; it gets an ordinary size, too."""
    behind_another = segment.name.startswith("head.deconv_layers") and not segment.name.endswith("_1")
    return segment.name == "backbone.norm" or behind_another


def _channel_range(conv: nn.Conv2d, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return (C,) smallest and (C,) largest value of each channel of (M, C · k · k) input patches."""
    by_channel = rows.reshape(len(rows), conv.in_channels, -1)
    return by_channel.amin(dim=(0, 2)), by_channel.amax(dim=(0, 2))
