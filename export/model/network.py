"""The reference network: the released definition under the released names, not optimized.

Every artifact is compared with it.
"""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from export.common.errors import BadInput
from export.model.architecture import Architecture

BATCH_NORM_EPS = 1e-5


class Block(nn.Module):
    """``x + pwconv2(ReLU(pwconv1(norm(dwconv(x)))))`` on (N, dim, H, W)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm: nn.Module = nn.BatchNorm2d(dim, eps=BATCH_NORM_EPS)
        self.pwconv1 = nn.Conv2d(dim, 4 * dim, 1)
        self.act = nn.ReLU()
        self.pwconv2 = nn.Conv2d(4 * dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) → the same shape."""
        residual: Tensor = self.pwconv2(self.act(self.pwconv1(self.norm(self.dwconv(x)))))
        return x + residual


class Backbone(nn.Module):
    """ConvNeXt with BatchNorm and ReLU: (N, 3, S, S) → (N, dims[3], S/32, S/32)."""

    def __init__(self, depths: tuple[int, ...], dims: tuple[int, ...]) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, stride=4), nn.BatchNorm2d(dims[0], eps=BATCH_NORM_EPS))
        self.downsample_layers = nn.ModuleList([stem])
        for inputs, outputs in pairwise(dims):
            norm = nn.BatchNorm2d(inputs, eps=BATCH_NORM_EPS)
            self.downsample_layers.append(nn.Sequential(norm, nn.Conv2d(inputs, outputs, 2, stride=2)))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(dim) for _ in range(depth))) for depth, dim in zip(depths, dims, strict=True)
        )
        self.norm: nn.Module = nn.BatchNorm2d(dims[-1], eps=BATCH_NORM_EPS)

    @property
    def downsamplings(self) -> list[nn.Sequential]:
        """The stem (convolution, norm) and the three downsamplings (norm, convolution)."""
        return [module for module in self.downsample_layers if isinstance(module, nn.Sequential)]

    @property
    def blocks(self) -> list[Block]:
        """The blocks of all stages in data order."""
        return [module for module in self.stages.modules() if isinstance(module, Block)]

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) → (N, dims[3], S/32, S/32)."""
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
        features: Tensor = self.norm(x)
        return features


class HeadLayer(nn.Module):
    """Depthwise convolution, norm, pointwise convolution, ReLU, and a doubling of the map if ``upsample``."""

    def __init__(self, inputs: int, outputs: int, kernel: int, upsample: bool) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs)
        self.norm: nn.Module = nn.BatchNorm2d(inputs, eps=BATCH_NORM_EPS)
        self.pwconv = nn.Conv2d(inputs, outputs, 1)
        self.act = nn.ReLU()
        self.upsample: nn.Module = Doubling() if upsample else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H or 2H, W or 2W)."""
        y: Tensor = self.upsample(self.act(self.pwconv(self.norm(self.dwconv(x)))))
        return y


class Doubling(nn.Module):
    """Bilinear upsampling by two with aligned corners."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, 2H, 2W)."""
        return nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class Head(nn.Module):
    """Three head layers and the convolution to one volume of logits per joint."""

    def __init__(self, inputs: int, architecture: Architecture) -> None:
        super().__init__()
        layers = zip(architecture.head_channels, architecture.head_kernels, strict=True)
        for k, (outputs, kernel) in enumerate(layers, start=1):
            layer = HeadLayer(inputs, outputs, kernel, upsample=k <= architecture.upsamplings)
            self.add_module(f"deconv_layers_{k}", layer)
            inputs = outputs
        self.final_layer = nn.Conv2d(inputs, architecture.volume_channels, 1)

    @property
    def layers(self) -> list[HeadLayer]:
        """The head layers in data order."""
        return [module for module in self.children() if isinstance(module, HeadLayer)]

    def forward(self, x: Tensor) -> Tensor:
        """(N, dims[3], h, h) → (N, joints * depth_dim, H, H) logits."""
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.final_layer(x)
        return logits


class SoftArgmax(nn.Module):
    """The released decode: expected position under a softmax over the whole volume, axis by axis."""

    def __init__(self, joints: int, depth_dim: int) -> None:
        super().__init__()
        self.joints = joints
        self.depth_dim = depth_dim

    def forward(self, logits: Tensor) -> Tensor:
        """(N, joints * depth_dim, H, W) → (N, joints, 3): x along W, y along H, z along depth, in bins."""
        n, _, height, width = logits.shape
        volume = logits.reshape(n, self.joints, self.depth_dim * height * width).softmax(dim=2)
        volume = volume.reshape(n, self.joints, self.depth_dim, height, width)
        axes = (volume.sum(dim=(2, 3)), volume.sum(dim=(2, 4)), volume.sum(dim=(3, 4)))
        expected = [(p * torch.arange(p.shape[2], dtype=p.dtype, device=p.device)).sum(dim=2) for p in axes]
        return torch.stack(expected, dim=2)


class ConvNeXtPose(nn.Module):
    """(N, 3, S, S) normalised pixels → (N, joints, 3) positions in bins."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.entry: nn.Module = nn.Identity()
        """Beginning of a graph in half precision; the released network has nothing here."""
        self.backbone = Backbone(architecture.depths, architecture.dims)
        self.head = Head(architecture.dims[-1], architecture)
        self.decode: nn.Module = SoftArgmax(architecture.joints, architecture.depth_dim)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, S, S) → (N, joints, 3) in bins."""
        joints: Tensor = self.decode(self.head(self.backbone(self.entry(image))))
        return joints


def build_network(architecture: Architecture, weights: Mapping[str, Tensor]) -> ConvNeXtPose:
    """Build the reference network in FP32 and evaluation mode with exactly these weights, and run it once.

    Batch counters, which inference does not use, may be missing.

    Raises:
        BadInput: a tensor is missing, superfluous or of another shape, or an output has the wrong shape.
    """
    with torch.device("meta"):
        network = ConvNeXtPose(architecture)
    names = network.state_dict().keys()
    state = {name: w.float() if w.is_floating_point() else w for name, w in weights.items()}
    for name in names - state.keys():
        if name.endswith(".num_batches_tracked"):
            state[name] = torch.tensor(0)
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise BadInput(
            "the weights do not fit the architecture",
            " ".join(str(error).split())[:400],
            "list the file's tensors with `convnextpose inspect`",
        ) from error
    network.requires_grad_(False).eval()
    check_sizes(network, architecture)
    return network


@torch.inference_mode()
def check_sizes(network: ConvNeXtPose, architecture: Architecture) -> None:
    """Check the shapes of logits and joints for a batch of two images.

    Raises:
        BadInput: a shape is not that of the architecture.
    """
    batch = 2
    image = torch.zeros(batch, 3, architecture.input_size, architecture.input_size)
    logits = network.head(network.backbone(image))
    edge = architecture.heatmap_size
    _require_shape("logits", logits, (batch, architecture.volume_channels, edge, edge))
    _require_shape("joints", network.decode(logits), (batch, architecture.joints, 3))


def _require_shape(name: str, output: Tensor, shape: tuple[int, ...]) -> None:
    if output.shape != shape:
        raise BadInput(
            "the network does not match its architecture",
            f"{name} of shape {tuple(output.shape)}",
            f"expected {shape}; correct the architecture before you export it",
        )
