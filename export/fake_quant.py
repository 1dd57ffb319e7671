"""An int8 network simulated in PyTorch: the same rounding, float arithmetic.

What ``export.quantize`` writes into the graph is done here on tensors, so that a placement can be judged before
anything is written.
"""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.int8_plan import Int8Plan
from export.network import ConvNeXtPose
from export.scales import LARGEST, stored_scale


class FakeQuantConv(nn.Module):
    """A convolution whose input and weights are rounded to int8 and back."""

    def __init__(self, conv: nn.Conv2d, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.conv = copy.deepcopy(conv)
        weights, scales = quantised_weights(conv.weight.detach().numpy())
        self.conv.weight = nn.Parameter(torch.from_numpy(dequantised(weights, scales)), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → what the int8 convolution gives, in float."""
        rounded = torch.fake_quantize_per_tensor_affine(x, self.scale, 0, -LARGEST - 1, LARGEST)
        y: Tensor = self.conv(rounded)
        return y


def simulate(network: ConvNeXtPose, plan: Int8Plan) -> ConvNeXtPose:
    """A copy of the deploy network in which the plan's convolutions are simulated."""
    simulated = copy.deepcopy(network)
    for placed in plan.quantised:
        assert placed.activation_scale is not None
        parent, _, name = placed.name.rpartition(".")
        conv = simulated.get_submodule(placed.name)
        assert isinstance(conv, nn.Conv2d)
        setattr(simulated.get_submodule(parent), name, FakeQuantConv(conv, placed.activation_scale))
    return simulated


def quantised_weights(weights: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(O, I, kh, kw) → int8 of the same shape and (O,) float32 scales, one an output channel.

    Scales are rounded up to float16, which graphs in half precision store them in: nothing is clipped, and the
    weights are rounded with the very scale that the graph multiplies by.
    """
    largest = np.abs(weights.astype(np.float64)).max(axis=(1, 2, 3))
    scales = np.array([stored_scale(value / LARGEST) for value in largest], np.float32)
    rounded = np.rint(weights.astype(np.float64) / scales[:, None, None, None].astype(np.float64))
    return np.clip(rounded, -LARGEST, LARGEST).astype(np.int8), scales


def dequantised(weights: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """(O, I, kh, kw) int8 and (O,) scales → float32."""
    values: NDArray[np.float32] = weights.astype(np.float32) * scales[:, None, None, None]
    return values
