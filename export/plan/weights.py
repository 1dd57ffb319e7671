"""The weights of a graph that is planned in half precision or INT8, from its values on calibration images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from export.common.errors import CheckFailed
from export.common.progress import Progress, no_progress
from export.graph.precision import BODY
from export.graph.segments import BATCH, Segment, segment_inputs
from export.images.image_set import Images
from export.model.network import ConvNeXtPose
from export.model.pose import Volume, normalise
from export.plan.equalization import (
    edges,
    equalizing_factors,
    least_factors,
    rescale_input,
    rescale_stream,
    shift_input,
)
from export.plan.error_feedback import (
    ROWS,
    as_columns,
    from_columns,
    input_moments,
    round_with_feedback,
    sample_patches,
)
from export.plan.placement import PlannedConv
from export.plan.planned import Int8Weights, PlannedWeights, fake_quantized
from export.plan.scales import LARGEST, stored_scale

EXPONENTS = (0.0, 0.5, 0.75, 1.0)
"""Of the equalization, tried for each convolution in INT8."""
RANGES = (0.35, 0.5, 0.7, 0.85, 1.0, 1.3, 1.7)
"""Largest INT8 input, as a share of the largest value seen; above 1, since other images go higher."""
ORDINARY = 64.0
"""Largest value of every INT8 input after rescaling. Behind the stem of a released network values are so small
(variances of 1e-7) that scales of inputs and weights would be subnormal in FP16, and so lose their digits."""
BIAS_STEPS = 60_000
"""Largest bias in steps of its input's times its weights' scale. ONNX Runtime 1.31 quantizes the biases of INT8
convolutions in FP16, which overflows at 65,504: the network was seen to be 10.8 mm off where the file means 4.0 mm."""
CHOICE_ROWS = 1024
"""Input patches on which exponent and range are chosen."""
LOOK = "look at the calibration images, and at the checkpoint: `convnextpose inspect`"
IMPORTANCE_IMAGES = 8
SEED = 0
"""Of the sampled places and of the directions in which joints are moved."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """How the input of one INT8 convolution is stored."""

    exponent: float
    factors: Tensor
    """(C,) by which its channels are divided."""
    offsets: Tensor
    """(C,) subtracted before."""
    input_scale: float


def half_weights(
    network: ConvNeXtPose, precision: str, images: Images, progress: Progress = no_progress
) -> dict[str, Tensor]:
    """Round every weight of ``half_graph(reference, torch.float32)`` to half precision, with error feedback.

    Returns:
        Parameter name → tensor in FP16 or BF16. Weights that do not fit are infinite; ``graph.ranges`` refuses them.
    """
    dtype = BODY[precision]
    floats = {name: parameter.detach().to(dtype) for name, parameter in network.named_parameters()}
    for segment, x in segment_inputs(network, images, progress):
        for name, patches in conv_inputs(segment, x).items():
            conv = segment.convs[name]
            columns = as_columns(conv)
            if torch.isfinite(columns.to(dtype)).all():
                rounded = round_with_feedback(columns, input_moments(patches), lambda w, _: w.to(dtype).double())
                weight, bias = from_columns(conv, rounded)
                floats[f"{name}.weight"], floats[f"{name}.bias"] = weight.to(dtype), bias.to(dtype)
    return floats


def int8_weights(
    network: ConvNeXtPose, scales: Mapping[str, float], images: Images, progress: Progress = no_progress
) -> tuple[dict[str, Int8Weights], dict[str, Tensor]]:
    """Round the weights of some convolutions to INT8 with error feedback, each for its rounded input.

    Args:
        network: the FP32 graph, its channels rescaled already.
        scales: convolution → scale of its input.
        images: calibration images, (N, S, S, 3) RGB.
        progress: told after each segment.

    Returns:
        Weights, and biases in FP16, by convolution.
    """
    found: dict[str, Int8Weights] = {}
    biases: dict[str, Tensor] = {}
    for segment, x in segment_inputs(network, images, progress):
        wanted = [name for name in segment.convs if name in scales]
        for name, patches in conv_inputs(segment, x, wanted).items():
            patches[:, :, :-1] = fake_quantized(patches[:, :, :-1], scales[name])
            found[name], biases[name] = _int8_conv(segment.convs[name], input_moments(patches), scales[name])
    return found, biases


def weight_scales(weights: Tensor) -> Tensor:
    """Return (O,) FP64 scales with which no weight is clipped, rounded up to normal FP16 numbers.

    A channel that is zero, or smaller than FP16 can tell (a dead channel), has the smallest normal number.
    """
    largest = weights.abs().flatten(1).amax(dim=1)
    return torch.tensor([stored_scale(float(value) / LARGEST) for value in largest], dtype=torch.float64)


def bias_scales(conv: nn.Conv2d, input_scale: float) -> Tensor:
    """Return the (O,) FP64 smallest scales of weights, as FP16 has them, with a bias of at most ``BIAS_STEPS``."""
    assert conv.bias is not None
    steps = conv.bias.detach().double().abs() / (BIAS_STEPS * input_scale)
    return torch.tensor([stored_scale(float(value)) for value in steps], dtype=torch.float64)


def _int8_conv(conv: nn.Conv2d, moments: Tensor, input_scale: float) -> tuple[Int8Weights, Tensor]:
    columns = as_columns(conv)
    bias = columns.shape[2] - 1
    scales = torch.maximum(weight_scales(conv.weight.double()), bias_scales(conv, input_scale))

    def grid(values: Tensor, column: int) -> Tensor:
        if column == bias:
            return values.half().double()
        return torch.clamp(torch.round(values / scales), -LARGEST, LARGEST) * scales

    weight, rounded_bias = from_columns(conv, round_with_feedback(columns, moments, grid))
    values = torch.round(weight / scales[:, None, None, None]).to(torch.int8)
    return Int8Weights(values.numpy(), scales.float().numpy()), rounded_bias.half()


def scale_inputs(
    network: ConvNeXtPose, convs: tuple[PlannedConv, ...], images: Images, progress: Progress = no_progress
) -> tuple[PlannedConv, ...]:
    """Choose equalization and scale for the input of every INT8 convolution, and change ``network`` in place.

    A convolution whose exponent is known already, from a plan, keeps it, also where the plan keeps it in FP16.

    The largest values are those of one half of the images; what is chosen has the least error on the other half.
    Errors are weighted by what an output channel does to the joints.

    Raises:
        CheckFailed: values that are not finite.
    """
    wanted = {conv.name: conv for conv in convs if conv.precision == "int8" or conv.equalization is not None}
    can_shift = {name for name, edge in edges(network).items() if edge.can_shift}
    importance = output_importance(network, images[:IMPORTANCE_IMAGES])
    chosen: dict[str, Scaling] = {}
    for segment, x in segment_inputs(network, images, progress):
        names = [name for name in segment.convs if name in wanted]
        for name, patches in conv_inputs(segment, x, names).items():
            given = wanted[name].equalization
            exponents = EXPONENTS if given is None else (given,)
            conv, rows = segment.convs[name], patches[0, :, :-1]
            chosen[name] = _choose(conv, rows, importance[name], exponents, name in can_shift)
    if beyond := [name for name, scaling in chosen.items() if not math.isfinite(scaling.input_scale)]:
        what = "int8 cannot be had: fp16, which its graph has around the int8, cannot hold the scales of inputs"
        raise CheckFailed(what, ", ".join(beyond), "ask for bf16, which has the range of fp32")
    for name, scaling in chosen.items():
        if name in can_shift:
            shift_input(network, name, scaling.offsets)
        least = least_factors(edges(network)[name].producers).to(scaling.factors.dtype)
        rescale_input(network, name, torch.maximum(scaling.factors, least))
    scale_other_streams(network, images)
    return tuple(
        replace(conv, input_scale=of.input_scale, equalization=of.exponent) if (of := chosen.get(conv.name)) else conv
        for conv in convs
    )


def _choose(conv: nn.Conv2d, rows: Tensor, importance: Tensor, exponents: tuple[float, ...], shift: bool) -> Scaling:
    """Pick equalization and scale by the weighted error of the outputs."""
    half = len(rows) // 2
    low, high = channel_range(conv, rows[:half])
    offsets = (low + high) / 2 if shift else torch.zeros_like(low)
    largest = torch.maximum(high - offsets, offsets - low)
    kernel = conv.weight[0, 0].numel()
    places = torch.linspace(half, len(rows) - 1, min(CHOICE_ROWS, len(rows) - half)).long()
    inputs, weight = rows[places] - offsets.repeat_interleave(kernel), conv.weight.detach().flatten(1)
    best, least, unit = Scaling(exponents[0], torch.ones_like(largest), offsets, math.inf), math.inf, ordinary(largest)
    for exponent in exponents:
        factors = equalizing_factors(largest, exponent)
        each = factors.repeat_interleave(kernel)
        scaled, rescaled = inputs / each, weight * each
        scales = rescaled.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / LARGEST
        rounded, exact = torch.round(rescaled / scales) * scales, scaled @ rescaled.T
        top = float((largest / factors).max().clamp_min(torch.finfo(torch.float32).tiny))
        for share in RANGES:
            input_scale = top * share / LARGEST
            off = fake_quantized(scaled, input_scale) @ rounded.T - exact
            error = float((off.square().mean(dim=0) * importance).sum())
            if error < least:
                best = Scaling(exponent, factors * unit, offsets, stored_scale(input_scale / float(unit)))
                least = error
    return best


def ordinary(largest: Tensor) -> Tensor:
    """Return the factor that brings the largest of these values to ``ORDINARY``; 1 where all are zero."""
    top = largest.max()
    return torch.where(top > 0, top / ORDINARY, torch.ones_like(top))


def scale_other_streams(network: ConvNeXtPose, images: Images) -> None:
    """Bring the tensors that no INT8 convolution reads to ordinary size, in place: they are outputs of some."""
    largest: dict[str, Tensor] = {}
    for segment, x in segment_inputs(network, images):
        behind_another = segment.name.startswith("head.deconv_layers") and not segment.name.endswith("_1")
        if segment.name == "backbone.norm" or behind_another:
            largest[segment.name] = x.abs().amax(dim=(0, 2, 3))
    for reader, values in largest.items():
        rescale_stream(network, reader, ordinary(values))


def channel_range(conv: nn.Conv2d, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return (C,) smallest and (C,) largest value of each channel of (M, C · k · k) input patches."""
    by_channel = rows.reshape(len(rows), conv.in_channels, -1)
    return by_channel.amin(dim=(0, 2)), by_channel.amax(dim=(0, 2))


def output_importance(network: ConvNeXtPose, images: Images) -> dict[str, Tensor]:
    """Return for each convolution how much an error of each output channel moves the joints.

    The mean square gradient of the joints, in mm, along a random direction: the diagonal of a Gauss-Newton matrix.

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
        raise CheckFailed("the network's gradients on calibration images are not finite", broken[0], LOOK)
    return {name: value.detach() for name, value in total.items()}


def conv_inputs(segment: Segment, x: Tensor, names: list[str] | None = None) -> dict[str, Tensor]:
    """Sample the inputs of a segment's convolutions: name → (G, M, K + 1), image after image (``sample_patches``).

    Args:
        segment: run once on all images.
        x: (N, C, H, W) its input.
        names: the convolutions; None: all.

    Raises:
        CheckFailed: an input is not finite.
    """
    wanted = {name: conv for name, conv in segment.convs.items() if names is None or name in names}
    if not wanted:
        return {}
    parts: dict[str, list[Tensor]] = {name: [] for name in wanted}
    generators = {name: torch.Generator().manual_seed(SEED) for name in wanted}  # one each: whatever else is sampled
    count = max(1, ROWS // len(x))

    def sample(name: str, value: Tensor) -> None:
        parts[name].append(sample_patches(wanted[name], value, count, generators[name]))

    hooks = [
        conv.register_forward_pre_hook(lambda _module, inputs, name=name: sample(name, inputs[0]))
        for name, conv in wanted.items()
    ]
    try:
        for part in torch.split(x, BATCH):
            segment.module(part)
    finally:
        for hook in hooks:
            hook.remove()
    inputs = {name: torch.cat(of, dim=1) for name, of in parts.items()}
    if broken := [name for name, patches in inputs.items() if not torch.isfinite(patches).all()]:
        raise CheckFailed("the network's values on calibration images are not finite", f"input of {broken[0]}", LOOK)
    return inputs


def planned_weights(
    convs: tuple[PlannedConv, ...],
    exact: ConvNeXtPose,
    floats: Mapping[str, Tensor],
    int8: Mapping[str, Int8Weights],
    biases: Mapping[str, Tensor],
) -> PlannedWeights:
    """Put together what a plan's convolutions store: exact, half or INT8 weights.

    Args:
        convs: the plan's.
        exact: the FP32 graph.
        floats: its parameters in half precision.
        int8: weights of convolutions that may be in INT8.
        biases: and their biases.
    """
    chosen, kept = dict(floats), {}
    for conv in convs:
        if conv.precision == "fp32":
            module = exact.get_submodule(conv.name)
            assert isinstance(module, nn.Conv2d)
            assert module.bias is not None
            chosen[f"{conv.name}.weight"], chosen[f"{conv.name}.bias"] = module.weight.data, module.bias.data
        elif conv.precision == "int8":
            kept[conv.name] = int8[conv.name]
            chosen[f"{conv.name}.weight"] = torch.from_numpy(int8[conv.name].dequantized).half()
            chosen[f"{conv.name}.bias"] = biases[conv.name]
    return PlannedWeights(chosen, kept)
