"""The weights of a planned graph, and its simulation in PyTorch.

The simulation computes in FP32, and rounds every weight and every stored value to its type in the file. So a plan can
be measured before anything is written, on any processor.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.graph.precision import BODY, Cast, half_graph, in_precision
from export.graph.segments import Segment, segments
from export.model.network import Block, ConvNeXtPose
from export.plan.equalization import as_conv
from export.plan.precision_plan import PrecisionPlan
from export.plan.scales import LARGEST

INT8_VALUES, INT8_SCALES = ".int8", ".int8_scales"


@dataclass(frozen=True, eq=False)
class Int8Weights:
    """Weights of one convolution in INT8: values times the scale of their output channel."""

    values: NDArray[np.int8]
    """(O, I, kh, kw), -127 to 127."""
    scales: NDArray[np.float32]
    """(O,) positive; each a normal FP16 number."""

    @property
    def dequantized(self) -> NDArray[np.float32]:
        """(O, I, kh, kw) float32."""
        return np.asarray(self.values * self.scales[:, None, None, None], np.float32)


@dataclass(frozen=True, eq=False)
class PlannedWeights:
    """All weights of a planned graph."""

    floats: Mapping[str, Tensor]
    """Parameter → tensor in its stored type; for a convolution in INT8 the dequantized weights, rounded."""
    int8: Mapping[str, Int8Weights]
    """By convolution."""


def save_planned(path: Path, weights: PlannedWeights) -> None:
    """Write the weights as safetensors."""
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in weights.floats.items()}
    for name, int8 in weights.int8.items():
        tensors[name + INT8_VALUES] = torch.from_numpy(int8.values)
        tensors[name + INT8_SCALES] = torch.from_numpy(int8.scales)
    save_file(tensors, path)


def load_planned(path: Path) -> PlannedWeights:
    """Read the file of ``save_planned``."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    names = [name.removesuffix(INT8_VALUES) for name in tensors if name.endswith(INT8_VALUES)]
    int8 = {n: Int8Weights(tensors[n + INT8_VALUES].numpy(), tensors[n + INT8_SCALES].numpy()) for n in names}
    floats = {n: t for n, t in tensors.items() if not n.endswith((INT8_VALUES, INT8_SCALES))}
    return PlannedWeights(floats, int8)


def planned_graph(
    reference: ConvNeXtPose, plan: PrecisionPlan, weights: PlannedWeights, *, takes_pixels: bool = False
) -> ConvNeXtPose:
    """Return the typed graph of a plan with its weights; INT8 convolutions are still in FP16."""
    graph = in_precision(reference, plan.precision, takes_pixels=takes_pixels, in_fp32=plan.in_fp32)
    for name, parameter in graph.named_parameters():
        assert weights.floats[name].dtype == parameter.dtype, name
        parameter.data = weights.floats[name]
    return graph


def simulated_graph(reference: ConvNeXtPose, plan: PrecisionPlan, weights: PlannedWeights) -> ConvNeXtPose:
    """Return the plan's graph in FP32 arithmetic, with every weight and every stored value rounded to its type."""
    network = half_graph(reference, torch.float32)
    for name, parameter in network.named_parameters():
        parameter.data = weights.floats[name].float()
    for conv in plan.quantized:
        assert conv.input_scale is not None
        quantize_conv(network, conv.name, conv.input_scale, weights.int8[conv.name])
    round_values(segments(network), BODY[plan.precision], plan.in_fp32)
    return network


def quantize_conv(network: ConvNeXtPose, name: str, input_scale: float, weights: Int8Weights) -> None:
    """Simulate one convolution of ``network`` in INT8, in place; its bias stays."""
    conv = as_conv(network.get_submodule(name))
    conv.weight.data = torch.from_numpy(weights.dequantized)
    conv.register_forward_pre_hook(lambda _module, inputs: fake_quantize(inputs[0], input_scale))


def fake_quantize(x: Tensor, scale: float) -> Tensor:
    """Round a tensor to INT8 steps and return it in floating point.

    Torch's own ``fake_quantize_per_tensor_affine`` takes several times as long.
    """
    return torch.round(x / scale).clamp_(-LARGEST, LARGEST).mul_(scale)


def round_values(chain: tuple[Segment, ...], dtype: torch.dtype, in_fp32: frozenset[str] = frozenset()) -> None:
    """Round every value that these segments store, in place, except in segments in FP32."""
    rounded_input = True  # pixels are whole numbers
    for segment in chain:
        if segment.name in in_fp32:
            rounded_input = False
            continue
        if not rounded_input:
            segment.module.register_forward_pre_hook(lambda _module, inputs: _rounded(inputs[0], dtype))
        rounded_input = True
        _round_stored(segment.module, dtype)


def _round_stored(network: nn.Module, dtype: torch.dtype) -> None:
    for _, module in stored_values(network):
        if isinstance(module, nn.ReLU):
            continue  # of a rounded value
        module.register_forward_hook(lambda _module, _inputs, value: _rounded(value, dtype))


def stored_values(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules of the body that store a value: layers, and blocks with their residual sum."""
    for name, module in network.named_modules(prefix=prefix):
        is_value = isinstance(module, Block) or not any(module.children())
        if is_value and not isinstance(module, nn.Identity | Cast) and not name.startswith("decode"):
            yield name, module


def _rounded(value: Tensor, dtype: torch.dtype) -> Any:
    return value.to(dtype).to(value.dtype)
