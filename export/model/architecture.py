"""Architecture of a ConvNeXtPose network as a value: layers, tensors, and exact counts of both.

``layers`` yields the released definition in data order; shapes and counts are derived from it:

    stem, then four stages with a downsampling before each but the first, a last norm,
    three head layers (the first ``upsamplings`` of them double the map), and a 1x1 convolution
    to ``joints * depth_dim`` channels: one cubic volume of logits for each joint.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

STEM_STRIDE = 4
HEAD_LAYERS = 3
BACKBONE_STRIDE = 32
KERNEL_SIZES = (3, 5, 7)

BACKBONES = {
    "Atto": ((2, 2, 6, 2), (40, 80, 160, 320)),
    "Femto-L": ((3, 3, 9, 3), (48, 96, 192, 384)),
}
"""Name → (depths, dims) of the backbones that the sources mention."""


@dataclass(frozen=True)
class Layer:
    """One layer with weights, or an upsampling: ``size`` is the edge of its square output map."""

    kind: Literal["conv", "norm", "upsample"]
    name: str
    inputs: int
    outputs: int
    size: int
    kernel: int = 1
    groups: int = 1

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name → shape of the layer's tensors in a state dict."""
        if self.kind == "conv":
            weight = (self.outputs, self.inputs // self.groups, self.kernel, self.kernel)
            return {f"{self.name}.weight": weight, f"{self.name}.bias": (self.outputs,)}
        if self.kind == "norm":
            vectors = ("weight", "bias", "running_mean", "running_var")
            return {f"{self.name}.{v}": (self.outputs,) for v in vectors} | {f"{self.name}.num_batches_tracked": ()}
        return {}

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image, as the published figures count them.

        A convolution counts its products, a norm four per element and a bilinear upsampling eleven, as the profiler
        ``thop`` does. Convolutions alone would give 4.26 G for L; this convention gives the published 4.30 G.
        """
        pixels = self.size * self.size
        if self.kind == "conv":
            return self.inputs // self.groups * self.outputs * self.kernel**2 * pixels
        each = 4 if self.kind == "norm" else 11
        return each * self.outputs * pixels


@dataclass(frozen=True)
class Architecture:
    """Complete description of a network: no field is optional."""

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    head_channels: tuple[int, ...]
    head_kernels: tuple[int, ...]
    joints: int
    depth_dim: int
    upsamplings: int
    input_size: int = 256

    @property
    def heatmap_size(self) -> int:
        """Edge of the square map of logits, in bins."""
        return (self.input_size // BACKBONE_STRIDE) << self.upsamplings

    @property
    def volume_channels(self) -> int:
        """Output channels of the last convolution: joint j and depth bin d are channel j * depth_dim + d."""
        return self.joints * self.depth_dim

    @property
    def backbone(self) -> str:
        """The backbone's name, or its numbers if it has none."""
        for name, numbers in BACKBONES.items():
            if numbers == (self.depths, self.dims):
                return name
        return f"depths {list(self.depths)}, dims {list(self.dims)}"

    def layers(self) -> Iterator[Layer]:
        """Yield the layers in data order."""
        size = self.input_size // STEM_STRIDE
        yield Layer("conv", "backbone.downsample_layers.0.0", 3, self.dims[0], size, kernel=4)
        yield Layer("norm", "backbone.downsample_layers.0.1", self.dims[0], self.dims[0], size)
        for i, (depth, dim) in enumerate(zip(self.depths, self.dims, strict=True)):
            if i > 0:
                previous = self.dims[i - 1]
                yield Layer("norm", f"backbone.downsample_layers.{i}.0", previous, previous, size)
                size //= 2
                yield Layer("conv", f"backbone.downsample_layers.{i}.1", previous, dim, size, kernel=2)
            for j in range(depth):
                block = f"backbone.stages.{i}.{j}"
                yield Layer("conv", f"{block}.dwconv", dim, dim, size, kernel=7, groups=dim)
                yield Layer("norm", f"{block}.norm", dim, dim, size)
                yield Layer("conv", f"{block}.pwconv1", dim, 4 * dim, size)
                yield Layer("conv", f"{block}.pwconv2", 4 * dim, dim, size)
        inputs = self.dims[-1]
        yield Layer("norm", "backbone.norm", inputs, inputs, size)
        for k, (outputs, kernel) in enumerate(zip(self.head_channels, self.head_kernels, strict=True), start=1):
            name = f"head.deconv_layers_{k}"
            yield Layer("conv", f"{name}.dwconv", inputs, inputs, size, kernel=kernel, groups=inputs)
            yield Layer("norm", f"{name}.norm", inputs, inputs, size)
            yield Layer("conv", f"{name}.pwconv", inputs, outputs, size)
            if k <= self.upsamplings:
                size *= 2
                yield Layer("upsample", f"{name}.upsample", outputs, outputs, size)
            inputs = outputs
        yield Layer("conv", "head.final_layer", inputs, self.volume_channels, size)

    def deployed_layers(self) -> Iterator[Layer]:
        """Yield the layers of the deploy graph (``export/graph/deploy.py``) in data order, the same in every precision.

        All norms but the backbone's last are folded away. If the last head layer doubles the map, the last convolution
        works on the small map instead, and the decode doubles its logits.
        """
        deferred = self.upsamplings == HEAD_LAYERS
        for layer in self.layers():
            if layer.kind == "norm" and layer.name != "backbone.norm":
                continue
            if deferred and layer.name == f"head.deconv_layers_{HEAD_LAYERS}.upsample":
                continue
            if deferred and layer.name == "head.final_layer":
                yield replace(layer, size=layer.size // 2)
            else:
                yield layer

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name → shape of every tensor in a state dict of this network."""
        return {name: shape for layer in self.layers() for name, shape in layer.tensors.items()}

    @property
    def parameters(self) -> int:
        """Number of trained values: weights and biases, not the norms' statistics."""
        return sum(prod(shape) for name, shape in self.tensor_shapes().items() if name.endswith((".weight", ".bias")))

    @property
    def state_elements(self) -> int:
        """Number of values in a state dict, including the norms' statistics and counters."""
        return sum(prod(shape) for shape in self.tensor_shapes().values())

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image without the decode; the convention is in ``Layer.macs``."""
        return sum(layer.macs for layer in self.layers())


def cubic_upsamplings(depth_dim: int, input_size: int) -> int | None:
    """Return the number of upsamplings that makes the volume a cube (map edge equal to ``depth_dim``), or None.

    The weights do not show this number. The rule reproduces every published GFLOPS figure.
    """
    edges = {(input_size // BACKBONE_STRIDE) << count: count for count in range(HEAD_LAYERS + 1)}
    return edges.get(depth_dim)
