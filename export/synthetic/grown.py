"""Growth of a network: added channels, blocks and depth bins that keep its function.

Channels are copied, and the weights that read them are divided among the copies (Net2Net: Chen, Goodfellow and
Shlens, ICLR 2016, arXiv:1511.05641). Copies get different gains and uneven shares, so that no two channels have the
same values (LEMON: Wang et al., ICLR 2024, arXiv:2310.07999): rounding and quantization then treat them as
independent channels.

A channel t of the grown network holds ``gain[t] * x[index[t]]``, where x is the map of the source network. Every
layer below is exact for such maps in exact arithmetic.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from export.common.errors import BadInput
from export.images.figures import GROWTH_SEED, draw_figures
from export.model.architecture import Architecture
from export.model.network import BATCH_NORM_EPS, Backbone, build_network
from export.runtime.pose import normalise
from export.synthetic.growth import Growth, growth_obstacle

SEED = 0
FIGURES = 32
"""Figures for the statistics of added norms, which are within 3 % of the median variance over other figures."""
GAIN_OCTAVES = 0.5
"""Gains are between 2 ** -0.5 and 2 ** 0.5: different, and of ordinary size."""
SMALLEST_SHARE = 0.25
"""Smallest share of a copy before the shares are scaled to sum to one; the largest is 1."""


@dataclass(frozen=True, eq=False)
class Copies:
    """Channels of the grown network: channel t is channel ``index[t]`` of the source times ``gain[t]``."""

    index: Tensor
    """(target channels,) int64."""
    gain: Tensor
    """(target channels,) float64, positive."""


def grow(
    weights: Mapping[str, Tensor], source: Architecture, target: Architecture, images: Tensor, seed: int = SEED
) -> dict[str, Tensor]:
    """Return a state dict of ``target`` with the function of ``weights`` in ``source``.

    Exact except for the volume: added depth bins are interpolated, and an added upsampling stretches the map, since its
    corners are aligned (a joint at fraction u of the map stays there: 31 u becomes 63 u, not 62 u).

    Args:
        weights: state dict of ``source``; the result has its floating-point type.
        source: the network to grow.
        target: the network to return.
        images: (N, 3, S, S) normalized pixels that give the norms of added blocks their statistics.
        seed: random seed for gains, shares, the order of channels, and the features of added blocks.

    Raises:
        BadInput: ``target`` is smaller than ``source`` in some field, or differs in joints, kernels or input size.
    """
    obstacle = growth_obstacle(source, target)
    if obstacle is not None:
        raise BadInput("the network cannot be grown", obstacle, "choose a larger target, or give a checkpoint")
    dtype = weights["head.final_layer.weight"].dtype
    state = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    state |= interpolate_depth(state, source, target.depth_dim)
    growth = _Growth(state, torch.Generator().manual_seed(seed))
    growth.head(growth.backbone(source, target), target)
    fit_norms(growth.grown, target, growth.added_norms, images)
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in growth.grown.items()}


def grow_demo(growth: Growth, tensors: Mapping[str, Tensor], target: Architecture) -> dict[str, Tensor]:
    """Return a float32 state dict of ``target``, grown from the tensors of a demo checkpoint and its finer head.

    Raises:
        BadInput: the tensors do not fit the architecture that the demo model declares.
    """
    head = load_file(growth.head) if growth.head else {}
    source = build_network(growth.source, {**tensors, **head})
    figures = draw_figures(FIGURES, GROWTH_SEED)
    images = torch.from_numpy(normalise(np.stack([figure.image for figure in figures])))
    return grow(source.state_dict(), growth.source, target, images)


def interpolate_depth(state: Mapping[str, Tensor], source: Architecture, depth_dim: int) -> dict[str, Tensor]:
    """Return the final layer for ``depth_dim`` bins: logits are interpolated along the depth axis.

    Bin d is at depth d / D of the volume's cube, so bin d of the target is bin d * D / D' of the source. Bins
    after the source's last one repeat it.
    """
    before = source.depth_dim
    place = (torch.arange(depth_dim, dtype=torch.float64) * before / depth_dim).clamp(max=before - 1)
    low = place.long()
    high = (low + 1).clamp(max=before - 1)
    part = place - low
    changed = {}
    for name in ("head.final_layer.weight", "head.final_layer.bias"):
        tensor = state[name]
        bins = tensor.reshape(source.joints, before, -1)
        mixed = (1 - part)[:, None] * bins[:, low] + part[:, None] * bins[:, high]
        changed[name] = mixed.reshape(source.joints * depth_dim, *tensor.shape[1:])
    return changed


def kept_blocks(before: int, after: int) -> list[int]:
    """Return the places of the source's blocks in a stage of ``after`` blocks; added blocks are between them.

    >>> kept_blocks(2, 3), kept_blocks(6, 9)
    ([0, 1], [0, 1, 3, 4, 6, 7])
    """
    return [place * after // before for place in range(before)]


@torch.inference_mode()
def fit_norms(state: dict[str, Tensor], target: Architecture, models: Mapping[str, str], images: Tensor) -> None:
    """Set the running statistics of added norms to those of their inputs, in place.

    An added block adds zero for every setting of its norm, so one run of the backbone suffices. Few images are a small
    sample, so their statistics are corrected by the previous block, which has the same filters up to a gain: by the
    ratio of its norm's statistics to its sample on these images. Rounding to bfloat16 gives the same values on machines
    with other convolution kernels, except for rare ties.

    Args:
        state: state dict of ``target``, float64.
        target: the grown network.
        models: added norm → norm of the previous block, in data order.
        images: (N, 3, S, S) normalized pixels.
    """
    prefix = "backbone."
    backbone = Backbone(target.depths, target.dims).eval()
    backbone.load_state_dict({name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)})
    sample: dict[str, tuple[Tensor, Tensor]] = {}

    def record(name: str, values: Tensor) -> None:
        sample[name] = torch.var_mean(values.double(), dim=(0, 2, 3))

    for name in {*models, *models.values()}:
        module: nn.Module = backbone.get_submodule(name.removeprefix(prefix))
        module.register_forward_pre_hook(lambda _, inputs, name=name: record(name, inputs[0]))
    if models:
        backbone(images.float())
    for name, model in models.items():
        (variance, mean), (model_variance, model_mean) = sample[name], sample[model]
        known_mean, known_variance = state[f"{model}.running_mean"], state[f"{model}.running_var"]
        scale = (known_variance + BATCH_NORM_EPS) / (model_variance + BATCH_NORM_EPS)
        shift = (known_mean - model_mean) * ((variance + BATCH_NORM_EPS) / (model_variance + BATCH_NORM_EPS)).sqrt()
        state[f"{name}.running_mean"] = (mean + shift).bfloat16().double()
        state[f"{name}.running_var"] = (variance * scale).bfloat16().double()


class _Growth:
    """Builder of a grown state dict: each method adds the tensors of one layer or one part."""

    def __init__(self, source: Mapping[str, Tensor], generator: torch.Generator) -> None:
        self.source = source
        self.generator = generator
        self.grown: dict[str, Tensor] = {}
        self.added_norms: dict[str, str] = {}
        """Norm of an added block → norm of the previous block."""

    # ── parts of the network ─────────────────────────────────────────────────────────────────────────────────────

    def backbone(self, source: Architecture, target: Architecture) -> Copies:
        """Add the backbone; return the copies of its output."""
        x = Copies(torch.arange(3), torch.ones(3, dtype=torch.float64))
        for i, (before, after) in enumerate(zip(source.dims, target.dims, strict=True)):
            name = f"backbone.downsample_layers.{i}"
            stream = self.copies(before, after)
            if i == 0:
                inner = self.regain(stream)
                self.convolution(f"{name}.0", x, inner)
                self.norm(f"{name}.1", inner, stream)
            else:
                inner = self.regain(x)
                self.norm(f"{name}.0", x, inner)
                self.convolution(f"{name}.1", inner, stream)
            self.stage(f"backbone.stages.{i}", stream, source.depths[i], target.depths[i])
            x = stream
        normed = self.regain(x)
        self.norm("backbone.norm", x, normed)
        return normed

    def head(self, x: Copies, target: Architecture) -> None:
        """Add the head. Bilinear upsampling acts on each channel alike, so copies pass through it."""
        for k, after in enumerate(target.head_channels, start=1):
            name = f"head.deconv_layers_{k}"
            filtered = self.regain(x)
            self.depthwise(f"{name}.dwconv", x, filtered)
            normed = self.regain(x)
            self.norm(f"{name}.norm", filtered, normed)
            x = self.copies(len(self.source[f"{name}.pwconv.bias"]), after)
            self.convolution(f"{name}.pwconv", normed, x)
        logits = len(self.source["head.final_layer.bias"])
        self.convolution("head.final_layer", x, Copies(torch.arange(logits), torch.ones(logits, dtype=torch.float64)))

    def stage(self, name: str, stream: Copies, before: int, after: int) -> None:
        """Add a stage's blocks: the source's, and blocks that add zero."""
        blocks = {place: j for j, place in enumerate(kept_blocks(before, after))}
        for place in range(after):
            if place in blocks:
                self.block(f"{name}.{blocks[place]}", f"{name}.{place}", stream)
            else:
                self.zero_block(f"{name}.{place - 1}", f"{name}.{place}")

    def block(self, old: str, new: str, stream: Copies) -> None:
        """Add a block of the source; its sum adds copies to copies with the same gains."""
        filtered, normed = self.regain(stream), self.regain(stream)
        hidden = self.copies(len(self.source[f"{old}.pwconv1.bias"]), 4 * len(stream.index))
        self.depthwise(f"{old}.dwconv", stream, filtered, f"{new}.dwconv")
        self.norm(f"{old}.norm", filtered, normed, f"{new}.norm")
        self.convolution(f"{old}.pwconv1", normed, hidden, f"{new}.pwconv1")
        self.convolution(f"{old}.pwconv2", hidden, stream, f"{new}.pwconv2")

    def zero_block(self, model: str, new: str) -> None:
        """Add a block that adds exactly zero, with features of ordinary size from block ``model``.

        Hidden units come in pairs h and g h, since ReLU(g a) = g ReLU(a) for g > 0. Their outgoing weights are c and
        -c / g, so their contributions c h - (c / g) g h cancel. The bias is subtracted from that of ``model``.
        """
        grown = self.grown
        width = len(grown[f"{model}.dwconv.bias"])
        half = 2 * width
        factor = self.gains(width)
        grown[f"{new}.dwconv.weight"] = grown[f"{model}.dwconv.weight"] * factor[:, None, None, None]
        grown[f"{new}.dwconv.bias"] = grown[f"{model}.dwconv.bias"] * factor
        for part in ("weight", "bias"):
            grown[f"{new}.norm.{part}"] = grown[f"{model}.norm.{part}"] * self.gains(width)
        self.unfitted_norm(f"{new}.norm", width)
        self.added_norms[f"{new}.norm"] = f"{model}.norm"
        first, second = (torch.randperm(2 * half, generator=self.generator)[:half] for _ in range(2))
        angle = self.uniform(0.1, 0.4, half) * math.pi
        order, gain = torch.randperm(2 * half, generator=self.generator), self.gains(half)
        for part in ("weight", "bias"):
            rows = grown[f"{model}.pwconv1.{part}"].reshape(2 * half, -1)
            mixed = angle.cos()[:, None] * rows[first] + angle.sin()[:, None] * rows[second]
            paired = torch.cat([mixed, gain[:, None] * mixed])[order]
            grown[f"{new}.pwconv1.{part}"] = paired.reshape(grown[f"{model}.pwconv1.{part}"].shape)
        columns = grown[f"{model}.pwconv2.weight"][:, first]
        grown[f"{new}.pwconv2.weight"] = torch.cat([columns, -columns / gain[:, None, None]], dim=1)[:, order]
        share = self.uniform(0.25, 0.75, width) * grown[f"{model}.pwconv2.bias"]
        grown[f"{new}.pwconv2.bias"] = share
        grown[f"{model}.pwconv2.bias"] = grown[f"{model}.pwconv2.bias"] - share

    # ── layers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def convolution(self, old: str, inputs: Copies, outputs: Copies, new: str = "") -> None:
        """Add a dense convolution: w'[o, t] = gain[o] share[o, t] / gain[t] w[o, t], where shares sum to one.

        Summed over the copies t of one input channel, share[o, t] / gain[t] * gain[t] x = x.
        """
        weight, bias = self.source[f"{old}.weight"], self.source[f"{old}.bias"]
        copied = weight[outputs.index][:, inputs.index]
        factor = outputs.gain[:, None] * self.shares(len(outputs.index), inputs.index) / inputs.gain
        self.grown[f"{new or old}.weight"] = copied * factor[:, :, None, None]
        self.grown[f"{new or old}.bias"] = bias[outputs.index] * outputs.gain

    def depthwise(self, old: str, inputs: Copies, outputs: Copies, new: str = "") -> None:
        """Add a depthwise convolution. It is linear in its one channel, and zero padding has every gain."""
        factor = outputs.gain / inputs.gain
        weight, bias = self.source[f"{old}.weight"], self.source[f"{old}.bias"]
        self.grown[f"{new or old}.weight"] = weight[inputs.index] * factor[:, None, None, None]
        self.grown[f"{new or old}.bias"] = bias[inputs.index] * outputs.gain

    def norm(self, old: str, inputs: Copies, outputs: Copies, new: str = "") -> None:
        """Add a norm with the statistics of the copies: mean' = g mean, var' = g² var.

        Its weight corrects for the epsilon: weight' / sqrt(g² var + eps) * g = weight / sqrt(var + eps).
        """
        old_norm = {part: self.source[f"{old}.{part}"][inputs.index] for part in ("weight", "bias")}
        mean, variance = (self.source[f"{old}.{part}"][inputs.index] for part in ("running_mean", "running_var"))
        grown_variance = inputs.gain**2 * variance
        ratio = ((grown_variance + BATCH_NORM_EPS) / (variance + BATCH_NORM_EPS)).sqrt() / inputs.gain
        new = new or old
        self.grown[f"{new}.weight"] = old_norm["weight"] * outputs.gain * ratio
        self.grown[f"{new}.bias"] = old_norm["bias"] * outputs.gain
        self.grown[f"{new}.running_mean"] = inputs.gain * mean
        self.grown[f"{new}.running_var"] = grown_variance
        self.grown[f"{new}.num_batches_tracked"] = torch.tensor(0)

    def unfitted_norm(self, name: str, width: int) -> None:
        """Add a norm's statistics before they are fitted."""
        self.grown[f"{name}.running_mean"] = torch.zeros(width, dtype=torch.float64)
        self.grown[f"{name}.running_var"] = torch.ones(width, dtype=torch.float64)
        self.grown[f"{name}.num_batches_tracked"] = torch.tensor(0)

    # ── random numbers ───────────────────────────────────────────────────────────────────────────────────────────

    def copies(self, before: int, after: int) -> Copies:
        """Draw ``after`` copies that include each of the ``before`` channels, in random order."""
        rounds = [torch.randperm(before, generator=self.generator) for _ in range(-(-after // before))]
        index = torch.cat([torch.arange(before), torch.cat(rounds)])[:after]
        return Copies(index[torch.randperm(after, generator=self.generator)], self.gains(after))

    def regain(self, copies: Copies) -> Copies:
        """Draw other gains for the same channels."""
        return replace(copies, gain=self.gains(len(copies.index)))

    def shares(self, rows: int, index: Tensor) -> Tensor:
        """Draw (rows, len(index)) positive shares that sum to one over the copies of a channel."""
        drawn = self.uniform(SMALLEST_SHARE, 1.0, rows, len(index))
        total = torch.zeros(rows, int(index.max()) + 1, dtype=torch.float64).index_add_(1, index, drawn)
        return drawn / total[:, index]

    def gains(self, count: int) -> Tensor:
        """Draw ``count`` positive factors."""
        return torch.exp2(self.uniform(-GAIN_OCTAVES, GAIN_OCTAVES, count))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw float64 numbers between ``low`` and ``high``."""
        return low + (high - low) * torch.rand(shape, dtype=torch.float64, generator=self.generator)
