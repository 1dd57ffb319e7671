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
    defer_last_upsampling(network)
    decode_from_marginals(network)
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


def defer_last_upsampling(network: ConvNeXtPose) -> None:
    """Convolve to logits on the small map and upsample the logits.

    Upsampling U acts on each channel alone and its weights sum to one; a 1x1 convolution acts on each pixel alone:
    ``W·U(x) + b = U(W·x + b)``. This applies only if the last head layer upsamples.
    """
    head = network.head
    last = head.layers[-1]
    if isinstance(last.upsample, Doubling):
        last.upsample, head.logit_upsample = nn.Identity(), last.upsample


def decode_from_marginals(network: ConvNeXtPose) -> None:
    """Sum the volume once to the map and once to the depth; compute x and y from the map.

    Sums may be taken in any order: ``Σ_d Σ_h p = Σ_h (Σ_d p)``.
    """
    architecture = network.architecture
    network.decode = MarginalDecode(architecture.joints, architecture.depth_dim, architecture.heatmap_size)


class MarginalDecode(nn.Module):
    """The decode of ``SoftArgmax`` with fewer passes; all sizes but the batch are constants."""

    def __init__(self, joints: int, depth_dim: int, edge: int) -> None:
        super().__init__()
        self.joints = joints
        self.depth_dim = depth_dim
        self.edge = edge

    def forward(self, logits: Tensor) -> Tensor:
        """(N, joints * depth_dim, edge, edge) → (N, joints, 3) in bins."""
        pixels = self.edge * self.edge
        volume = logits.reshape(-1, self.joints, self.depth_dim * pixels).softmax(dim=2)
        volume = volume.reshape(-1, self.joints, self.depth_dim, pixels)
        depth = volume.sum(dim=3)
        plane = volume.sum(dim=2).reshape(-1, self.joints, self.edge, self.edge)
        bins = torch.arange(max(self.edge, self.depth_dim), dtype=logits.dtype, device=logits.device)
        x = (plane.sum(dim=2) * bins[: self.edge]).sum(dim=2)
        y = (plane.sum(dim=3) * bins[: self.edge]).sum(dim=2)
        z = (depth * bins[: self.depth_dim]).sum(dim=2)
        return torch.stack((x, y, z), dim=2)


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
