"""Stand-in weights: random weights with the statistics of released ones.

Freshly initialised weights give every image the same joints up to 1e-4 bins, so a comparison finds no defect. These
weights are drawn from the distributions of a released network (``weight_statistics``). Norms get the statistics of
their inputs on drawn figures, and the last layer is scaled so that joints spread over the volume and move with the
image.

The numeric regime is that of a released network: norm variances below epsilon, stem filters that sum to nearly zero,
and hidden units with weights that are subnormal in FP16 or smaller.
"""

import math

import torch
from torch import Tensor, nn

from export.images.figures import LIVENESS_SEED
from export.images.image_set import drawn_set
from export.images.norm_statistics import ChannelMoments
from export.model.architecture import Architecture
from export.model.network import Block, ConvNeXtPose
from export.runtime.pose import normalise
from export.synthetic import weight_statistics as released
from export.synthetic.weight_statistics import ConvStatistics, LogNormal, NormStatistics

SEED = 0
LIVENESS_IMAGES = 16
"""Drawn figures for fitting the norms: enough for ``norm_statistics`` to know other figures."""
CHUNK = 8
"""Images per run of a layer."""
SMALLEST_SUM_RATIO = 1.02
"""Lower limit of sum|w| / |sum w|, which is 1 if all weights of a filter have one sign."""
SHIFT_STEPS = 200
SMALLEST_VARIANCE = 1e-20
"""Lower limit of a channel's variance when convolutions are scaled."""
LOGIT_SPREAD = 6.0
"""Standard deviation of a joint's logits over its volume: peaks stand out from the sum over 32³ or 64³ bins, and
several bins share the weight, as in a trained network."""
BIAS_SPREAD = 3.0
"""Range of the bias that gives each joint a preferred depth."""


def stand_in_weights(architecture: Architecture, seed: int = SEED) -> dict[str, Tensor]:
    """Return a state dict of this architecture, deterministic from the seed.

    Statistics are rounded to bfloat16, which gives the same values on machines with other convolution kernels, except
    for rare ties.
    """
    draw = Draw(torch.Generator().manual_seed(seed))
    network = ConvNeXtPose(architecture).requires_grad_(False).eval()
    _draw_backbone(network, draw)
    _draw_head(network, draw)
    figures = drawn_set(architecture.input_size, LIVENESS_IMAGES, LIVENESS_SEED).images
    chunks = [torch.from_numpy(normalise(figures[i : i + CHUNK])) for i in range(0, len(figures), CHUNK)]
    with torch.inference_mode():
        features = _fit_norms(network, chunks)
        _scale_final_layer(network, features[0], draw.generator)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


class Draw:
    """Generator of layers with random weights of given statistics."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def magnitudes(self, count: int, distribution: LogNormal) -> Tensor:
        """Draw (count,) positive values."""
        logs = distribution.location + distribution.spread * torch.randn(count, generator=self.generator)
        return logs.clamp_max(distribution.most).exp()

    def signed(self, count: int, distribution: LogNormal, negative: float = 0.5) -> Tensor:
        """Draw (count,) values; ``negative`` is the share of negative ones."""
        return self._signs(count, negative) * self.magnitudes(count, distribution)

    def _signs(self, count: int, negative: float = 0.5) -> Tensor:
        return torch.where(torch.rand(count, generator=self.generator) < negative, -1.0, 1.0)

    def conv(self, conv: nn.Module, statistics: ConvStatistics) -> None:
        """Draw filters and biases."""
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        rows = torch.randn(conv.out_channels, conv.weight[0].numel(), generator=self.generator)
        if statistics.sum_ratio is not None:
            rows = self._with_sums(rows, statistics.sum_ratio)
        rms = rows.square().mean(dim=1).sqrt()
        rows = rows * (self.magnitudes(len(rows), statistics.filter_rms) / rms)[:, None]
        conv.weight.copy_(rows.reshape(conv.weight.shape))
        conv.bias.copy_(self.signed(conv.out_channels, statistics.bias))

    def norm(self, norm: nn.Module, statistics: NormStatistics) -> None:
        """Draw gains and biases."""
        assert isinstance(norm, nn.BatchNorm2d)
        norm.weight.copy_(self.signed(norm.num_features, statistics.gain, statistics.negative_gains))
        norm.bias.copy_(self.signed(norm.num_features, statistics.bias))

    def dead_units(self, block: Block) -> None:
        """Scale the weights of some hidden units down, as in dead units."""
        hidden = block.pwconv1.out_channels
        dead = torch.randperm(hidden, generator=self.generator)[: round(released.DEAD_HIDDEN_UNITS * hidden)]
        rms = self.magnitudes(len(dead), released.DEAD_HIDDEN_RMS)
        live = math.exp(released.BLOCK_PWCONV1.filter_rms.location)
        block.pwconv1.weight[dead] *= (rms / live)[:, None, None, None]
        block.pwconv2.weight[:, dead] *= (rms / live)[None, :, None, None]
        assert block.pwconv1.bias is not None
        block.pwconv1.bias[dead] *= rms / live

    def _with_sums(self, rows: Tensor, ratio: LogNormal) -> Tensor:
        """Shift each row until sum|w| / |sum w| is the drawn ratio."""
        target = self.magnitudes(len(rows), ratio).clamp_min(SMALLEST_SUM_RATIO)
        signs = self._signs(len(rows))
        centred = rows - rows.mean(dim=1, keepdim=True)
        shift = torch.zeros(len(rows), 1)
        for _ in range(SHIFT_STEPS):  # a contraction: its factor is at most 1 / target
            shift = ((centred + shift).abs().mean(dim=1) / target * signs)[:, None]
        return centred + shift


def _draw_backbone(network: ConvNeXtPose, draw: Draw) -> None:
    """Draw the stem, the downsamplings, the blocks and the final norm."""
    stem, *downsamplings = network.backbone.downsamplings
    draw.conv(stem[0], released.STEM)
    draw.norm(stem[1], released.STEM_NORM)
    for downsampling in downsamplings:
        draw.norm(downsampling[0], released.DOWNSAMPLING_NORM)
        draw.conv(downsampling[1], released.DOWNSAMPLING)
    for block in network.backbone.blocks:
        draw.conv(block.dwconv, released.BLOCK_DWCONV)
        draw.norm(block.norm, released.BLOCK_NORM)
        draw.conv(block.pwconv1, released.BLOCK_PWCONV1)
        draw.conv(block.pwconv2, released.BLOCK_PWCONV2)
        draw.dead_units(block)
    draw.norm(network.backbone.norm, released.FINAL_NORM)


def _draw_head(network: ConvNeXtPose, draw: Draw) -> None:
    """Draw the head layers and the last convolution."""
    for layer, dwconv, norm, pwconv in zip(
        network.head.layers, released.HEAD_DWCONVS, released.HEAD_NORMS, released.HEAD_PWCONVS, strict=True
    ):
        draw.conv(layer.dwconv, dwconv)
        draw.norm(layer.norm, norm)
        draw.conv(layer.pwconv, pwconv)
    draw.conv(network.head.final_layer, released.FINAL_LAYER)


def _fit_norms(network: ConvNeXtPose, chunks: list[Tensor]) -> Tensor:
    """Give every norm the statistics of its input, in data order; return the first chunk's features."""
    x = chunks
    for downsampling, stage in zip(network.backbone.downsamplings, network.backbone.stages, strict=True):
        for module in downsampling:
            if isinstance(module, nn.BatchNorm2d):
                _fit_norm(module, x)
            x = [module(chunk) for chunk in x]
        for block in stage.children():
            assert isinstance(block, Block)
            _fit_after(block.dwconv, block.norm, x, released.BLOCK_NORM.variance)
            x = [block(chunk) for chunk in x]
    _fit_norm(network.backbone.norm, x)
    x = [network.backbone.norm(chunk) for chunk in x]
    for layer, statistics in zip(network.head.layers, released.HEAD_NORMS, strict=True):
        _fit_after(layer.dwconv, layer.norm, x, statistics.variance)
        x = [layer(chunk) for chunk in (x if layer is not network.head.layers[-1] else x[:1])]
    return x[0]


def _fit_after(dwconv: nn.Module, norm: nn.Module, chunks: list[Tensor], variance: LogNormal) -> None:
    """Scale a convolution to the median of ``variance``, and fit the norm after it.

    The factor is a power of two, so scaling is exact, and wide and narrow networks have the same numeric regime.
    """
    assert isinstance(dwconv, nn.Conv2d)
    assert dwconv.bias is not None
    _fit_norm(norm, [dwconv(chunk) for chunk in chunks])
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    median = float(norm.running_var.clamp_min(SMALLEST_VARIANCE).log().median())
    factor = 2.0 ** round((variance.location - median) / (2 * math.log(2)))
    for tensor, power in ((dwconv.weight, 1), (dwconv.bias, 1), (norm.running_mean, 1), (norm.running_var, 2)):
        tensor.mul_(factor**power)


def _fit_norm(norm: nn.Module, chunks: list[Tensor]) -> None:
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    moments = ChannelMoments()
    for chunk in chunks:
        moments.add(chunk)
    statistics = moments.statistics()
    norm.running_mean.copy_(_rounded(torch.from_numpy(statistics.mean)))
    norm.running_var.copy_(_rounded(torch.from_numpy(statistics.variance)))


def _scale_final_layer(network: ConvNeXtPose, features: Tensor, generator: torch.Generator) -> None:
    """Scale each joint's logits to ``LOGIT_SPREAD``, and give each joint a preferred depth."""
    final, architecture = network.head.final_layer, network.architecture
    assert final.bias is not None
    final.bias.zero_()
    spread = final(features).reshape(len(features), architecture.joints, -1).std(dim=2).mean(dim=0)
    scale = _rounded(LOGIT_SPREAD / spread).repeat_interleave(architecture.depth_dim)
    final.weight.mul_(scale[:, None, None, None])
    depth = torch.linspace(-1, 1, architecture.depth_dim)
    centre = 1.6 * torch.rand(architecture.joints, 1, generator=generator) - 0.8
    final.bias.copy_((-BIAS_SPREAD * (depth - centre) ** 2).flatten())


def _rounded(values: Tensor) -> Tensor:
    """Round to the precision of bfloat16, which has the range of float32."""
    return values.bfloat16().float()
