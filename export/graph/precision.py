"""The deploy graph in another precision, or with the input format uint8.

In half precision the body is FP16 or BF16, both ends are FP32:

    image ─ pixels ─ cast │ backbone, head │ cast ─ decode ─ joints
          FP32            │  half          │      FP32

In a pixel variant the image is uint8, and only a cast precedes the stem.

The graph's types determine its precision, not a builder's switches. Norms are folded in FP64. A plan may keep segments
of the body in FP32 (``export.plan.precision_plan``).
"""

import copy
from collections.abc import Collection

import torch
from torch import Tensor, nn

from export.graph.deploy import affine, deploy
from export.graph.segments import segments
from export.model.network import ConvNeXtPose
from export.runtime.pose import MEAN, STD

HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
BODY = HALF | {"int8": torch.float16}
"""Type of the body: an INT8 graph has FP16 around its quantized convolutions."""


def in_precision(
    reference: ConvNeXtPose, precision: str, *, takes_pixels: bool = False, in_fp32: Collection[str] = ()
) -> ConvNeXtPose:
    """Return the graph to export in this precision, with weights rounded to nearest; INT8 is not quantized yet."""
    if precision in BODY:
        return half_graph(reference, BODY[precision], takes_pixels=takes_pixels, in_fp32=in_fp32)
    if not takes_pixels:
        return deploy(reference)
    network = deploy(copy.deepcopy(reference).double())
    read_pixels(network)
    network.entry = Bytes(torch.float32)
    return network.float()


def half_graph(
    reference: ConvNeXtPose, dtype: torch.dtype, *, takes_pixels: bool = False, in_fp32: Collection[str] = ()
) -> ConvNeXtPose:
    """Return a rewritten copy with a body of this type; ``torch.float32`` gives the half graph without rounding."""
    network = deploy(copy.deepcopy(reference).double())
    read_pixels(network)
    spell_out_last_norm(network)
    chain = segments(network)
    previous = first = torch.float32 if chain[0].name in in_fp32 else dtype
    for segment in chain:
        own = torch.float32 if segment.name in in_fp32 else dtype
        segment.module.to(own)
        if own != previous:
            segment.module.register_forward_pre_hook(lambda _module, inputs, own=own: inputs[0].to(own))
        previous = own
    if takes_pixels:
        network.entry = Bytes(first)
    elif first != torch.float32:
        network.entry = nn.Sequential(network.entry, Cast(first))
    network.decode.float()
    return network


def reads_bytes(network: ConvNeXtPose) -> bool:
    """Return whether the network's input is (N, S, S, 3) uint8."""
    return isinstance(network.entry, Bytes)


def read_pixels(network: ConvNeXtPose) -> None:
    """Make the stem read pixels: FP16 and BF16 hold every integer from 0 to 255, but not the normalised values.

    With x = (p - μ) / σ: ``W*x + b = (W/σ)*p + (b - Σ W·μ/σ)``; exact because the stem has no padding.
    """
    stem = network.backbone.downsamplings[0]
    conv = stem[0]
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    assert conv.padding == (0, 0), "the mean's contribution would not be constant at the edges"
    weight = conv.weight / _each_channel(STD, conv.weight)
    conv.bias = _fixed(conv.bias - (weight * _each_channel(MEAN, weight)).sum(dim=(1, 2, 3)))
    conv.weight = _fixed(weight)
    network.entry = Pixels()


def spell_out_last_norm(network: ConvNeXtPose) -> None:
    """Replace the norm that cannot be folded by ``x·s + t``, since its variances may not fit into FP16."""
    scale, shift = affine(network.backbone.norm)
    network.backbone.norm = nn.Sequential(Scale(scale[:, None, None]), Shift(shift[:, None, None]))


class Pixels(nn.Module):
    """Inverse of the normalisation, in the type of the image."""

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, S, S) normalised → (N, 3, S, S) pixels in 0..255."""
        return image * _each_channel(STD, image) + _each_channel(MEAN, image)


class Bytes(nn.Module):
    """Input of uint8 pixels. The cast comes first: TensorRT allows nothing else on uint8."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, image: Tensor) -> Tensor:
        """(N, S, S, 3) uint8 → (N, 3, S, S)."""
        return image.to(self.dtype).permute(0, 3, 1, 2)


class Cast(nn.Module):
    """A change of type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """Any shape → the same shape."""
        return x.to(self.dtype)


class Scale(nn.Module):
    """One factor per channel."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale = _fixed(scale)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        return x * self.scale


class Shift(nn.Module):
    """One summand per channel."""

    def __init__(self, shift: Tensor) -> None:
        super().__init__()
        self.shift = _fixed(shift)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        return x + self.shift


def _each_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Return (3, 1, 1) constants of the same type."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)
