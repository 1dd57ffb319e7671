"""The deploy graph: the function of the reference network with fewer operations.

Every rewriting is an identity of exact arithmetic, which its docstring states. In floating point it differs by
rounding, which the parity step measures.
"""

import copy

import torch
from torch import Tensor, nn

from export.model.network import Block, ConvNeXtPose, Doubling, HeadLayer


def deploy(reference: ConvNeXtPose) -> ConvNeXtPose:
    """Return a rewritten copy of ``reference``."""
    network = copy.deepcopy(reference)
    fold_norms(network)
    decode_by_matrices(network)
    return network


def fold_norms(network: ConvNeXtPose) -> None:
    """Fold every BatchNorm into the adjacent convolution where that is exact.

    After a convolution (stem, blocks, head): with s = γ / √(σ² + ε),
    ``s · (W*x + b - μ) + β = (sW)*x + (s(b - μ) + β)``.

    Before an unpadded convolution (downsampling): with t = β - sμ,
    ``W*(s·x + t) + b = (Ws)*x + (b + Σ W t)``; every output uses the whole kernel, so the shift
    contributes one constant per channel.

    The backbone's last norm precedes a *padded* convolution and stays: at the border, part of the kernel meets zeros
    instead of shifted values, so the contribution is not constant.
    """
    stem, *downsamplings = network.backbone.downsamplings
    stem[0], stem[1] = _absorb_norm_after(stem[0], stem[1]), nn.Identity()
    for downsampling in downsamplings:
        norm, conv = downsampling
        downsampling[0], downsampling[1] = nn.Identity(), _absorb_norm_before(norm, conv)
    layers: list[Block | HeadLayer] = [*network.backbone.blocks, *network.head.layers]
    for layer in layers:
        layer.dwconv, layer.norm = _absorb_norm_after(layer.dwconv, layer.norm), nn.Identity()


def decode_by_matrices(network: ConvNeXtPose) -> None:
    """Decode with matrix products, the last upsampling included.

    Upsampling U acts on each channel alone and its weights sum to one; a 1x1 convolution acts on each pixel alone:
    ``W·U(x) + b = U(W·x + b)``. So if the last head layer upsamples, its logits are upsampled instead, and those by
    two products: ``U(x) = A·x·Aᵀ`` (``doubling``).
    """
    architecture, last = network.architecture, network.head.layers[-1]
    doubles = isinstance(last.upsample, Doubling)
    last.upsample = nn.Identity()
    decode = MatrixDecode(architecture.joints, architecture.depth_dim, architecture.heatmap_size, doubles=doubles)
    network.decode = decode.to(network.head.final_layer.weight.dtype)


class MatrixDecode(nn.Module):
    """The decode of ``SoftArgmax`` with products instead of sums; all sizes but the batch are constants.

    Sums may be taken in any order. With P the (D, H·W) volume of a joint, ``Z·P·C`` has all its first moments: the rows
    of Z are 1 and z for each depth, the rows of C are (x, y, 1) for each pixel. So a volume is read once behind its
    softmax, in the layout of the logits.
    """

    doubling: Tensor
    depths: Tensor
    pixels: Tensor
    xyz: Tensor

    def __init__(self, joints: int, depth_dim: int, edge: int, *, doubles: bool) -> None:
        """Make the decode of logits on a map of ``edge``², or of half that edge if the decode ``doubles`` the map."""
        super().__init__()
        self.joints, self.depth_dim, self.edge, self.doubles = joints, depth_dim, edge, doubles
        y, x = torch.meshgrid(torch.arange(edge), torch.arange(edge), indexing="ij")
        constants = {
            "depths": torch.stack((torch.ones(depth_dim), torch.arange(depth_dim))),
            "pixels": torch.stack((x.flatten(), y.flatten(), torch.ones(edge**2)), dim=1),
            "xyz": torch.tensor([0, 1, 5]),  # of ((x, y, 1), (zx, zy, z))
        }
        if doubles:
            constants["doubling"] = doubling(edge // 2)
        for name, values in constants.items():
            self.register_buffer(name, values, persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """(N, joints * depth_dim, h, h) of any type → (N, joints, 3) in bins, in the type of the constants."""
        maps, edge, half, dtype = self.joints * self.depth_dim, self.edge, self.edge // 2, self.pixels.dtype
        if self.doubles:
            wide = logits.reshape(-1, maps * half, half).to(dtype) @ self.doubling.T
            logits = self.doubling @ wide.reshape(-1, maps, half, edge)
        volume = logits.reshape(-1, self.joints, self.depth_dim * edge**2).to(dtype).softmax(dim=2)
        moments = self.depths @ (volume.reshape(-1, self.joints, self.depth_dim, edge**2) @ self.pixels)
        return moments.reshape(-1, self.joints, 6).index_select(2, self.xyz)


def doubling(size: int) -> Tensor:
    """Return the (2·size, size) matrix of ``Doubling`` along one axis, in FP64.

    Corners are aligned: output r lies at ``r·(size - 1) / (2·size - 1)`` of the input, between its two neighbours.
    """
    position = torch.arange(2 * size, dtype=torch.float64)[:, None] * (size - 1) / (2 * size - 1)
    distance = (position - torch.arange(size)).abs()
    return (1 - distance).clamp(min=0)


def _absorb_norm_after(conv: nn.Module, norm: nn.Module) -> nn.Conv2d:
    """Return ``norm(conv(x))`` as one convolution."""
    assert isinstance(conv, nn.Conv2d)
    weight, bias = _doubles(conv)
    scale, shift = affine(norm)
    return _with_weights(conv, weight * scale[:, None, None, None], bias * scale + shift)


def _absorb_norm_before(norm: nn.Module, conv: nn.Module) -> nn.Conv2d:
    """Return ``conv(norm(x))`` as one convolution; exact because ``conv`` has no padding."""
    assert isinstance(conv, nn.Conv2d)
    assert conv.padding == (0, 0), "the shift of a norm before a padded convolution is not constant"
    weight, bias = _doubles(conv)
    scale, shift = affine(norm)
    constant = (weight * shift[None, :, None, None]).sum(dim=(1, 2, 3))
    return _with_weights(conv, weight * scale[None, :, None, None], bias + constant)


def affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return (C,) scale s and shift t in FP64, ``norm(x) = s·x + t``: s = γ / √(σ² + ε), t = β - sμ."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def _doubles(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    assert conv.bias is not None
    return conv.weight.double(), conv.bias.double()


def _with_weights(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """Copy ``conv`` with these weights, rounded once to its type."""
    changed = copy.deepcopy(conv)
    changed.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
    changed.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)
    return changed
