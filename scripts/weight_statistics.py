"""Measure the weight distributions of a checkpoint: the constants of ``export.synthetic.weight_statistics``.

Run as ``python -m scripts.weight_statistics CHECKPOINT MODEL``. Locations and spreads are of natural logarithms of
magnitudes: the median, half the distance of the quantiles 0.16 and 0.84, and the quantile 0.98.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from export.checkpoint.loading import read_checkpoint
from export.checkpoint.verdict import judge
from export.model.config import load_config
from export.model.network import BATCH_NORM_EPS, ConvNeXtPose, build_network

Array = NDArray[np.float64]
INT8_SUBNORMAL = 127 * 2.0**-14
"""Largest weight of a filter below which its INT8 scale is subnormal in FP16."""


def log_normal(values: Iterable[Array]) -> str:
    """Return median, spread and quantile 0.98 of ln|values|; zeros are left out."""
    magnitudes = np.abs(np.concatenate([np.ravel(v) for v in values]))
    logs = np.log(magnitudes[magnitudes > 0])
    if not len(logs):
        return "none"
    low, middle, high, most = np.quantile(logs, [0.16, 0.5, 0.84, 0.98])
    return f"({middle:.2f}, {(high - low) / 2:.2f}, {most:.2f})"


def array(values: object) -> Array:
    """Return a tensor as FP64 numbers."""
    return np.asarray(values, np.float64)


def rows(conv: nn.Module) -> Array:
    """Return the weights of a convolution, one row for each filter."""
    assert isinstance(conv, nn.Conv2d)
    return array(conv.weight).reshape(conv.out_channels, -1)


def rms(values: Array, axis: int = 1) -> Array:
    """Return the root mean square along an axis."""
    return np.asarray(np.sqrt((values**2).mean(axis=axis)))


def print_convs(kind: str, convs: list[nn.Module]) -> None:
    """Print filter sizes, sums and biases of convolutions."""
    filters = [rows(conv) for conv in convs]
    ratio = [np.abs(f).sum(axis=1) / np.abs(f.sum(axis=1)) for f in filters]
    biases = log_normal(array(conv.bias) for conv in convs)
    print(f"{kind}: filter rms {log_normal(map(rms, filters))}, bias {biases}, sum|w| / |sum w| {log_normal(ratio)}")


def print_norms(kind: str, norms: list[nn.Module]) -> None:
    """Print gains, biases and running statistics of norms."""
    gains, biases = [array(n.weight) for n in norms], [array(n.bias) for n in norms]
    means, variances = [array(n.running_mean) for n in norms], [array(n.running_var) for n in norms]
    negative = float((np.concatenate(gains) < 0).mean())
    below = float((np.concatenate(variances) < BATCH_NORM_EPS).mean())
    ratio = log_normal(m / np.sqrt(v) for m, v in zip(means, variances, strict=True))
    print(f"{kind}: gain {log_normal(gains)}, negative {negative:.2f}, bias {log_normal(biases)}")
    print(f"    running variance {log_normal(variances)}, below epsilon {below:.2f}, |mean| / deviation {ratio}")


def print_hidden_units(network: ConvNeXtPose) -> None:
    """Print live and dead hidden units of the blocks apart: rows of pwconv1 and columns of pwconv2."""
    first = [rows(block.pwconv1) for block in network.backbone.blocks]
    second = [rows(block.pwconv2) for block in network.backbone.blocks]
    dead = [np.abs(f).max(axis=1) < INT8_SUBNORMAL for f in first]
    share, count = np.concatenate(dead).mean(), int(np.concatenate(dead).sum())
    print(f"hidden units: {share:.3f} dead ({count:,})")
    for name, sizes in (("pwconv1 rows", map(rms, first)), ("pwconv2 columns", (rms(s, 0) for s in second))):
        pairs = list(zip(sizes, dead, strict=True))
        print(f"    {name}: live {log_normal(s[~d] for s, d in pairs)}, dead {log_normal(s[d] for s, d in pairs)}")


def main(checkpoint: Path, model: str) -> None:
    """Print one line for each kind of layer, and the shares over the whole network."""
    read = read_checkpoint(checkpoint)
    network = build_network(judge(load_config(model), read, {}).architecture, read.tensors)
    stem, *downsamplings = network.backbone.downsamplings
    blocks, head = network.backbone.blocks, network.head
    print_convs("stem", [stem[0]])
    print_norms("stem norm", [stem[1]])
    print_norms("downsampling norm", [down[0] for down in downsamplings])
    print_convs("downsampling", [down[1] for down in downsamplings])
    for name in ("dwconv", "pwconv1", "pwconv2"):
        print_convs(f"block {name}", [getattr(block, name) for block in blocks])
    print_norms("block norm", [block.norm for block in blocks])
    print_hidden_units(network)
    print_norms("final norm", [network.backbone.norm])
    for k, layer in enumerate(head.layers, start=1):
        print_convs(f"head {k} dwconv", [layer.dwconv])
        print_norms(f"head {k} norm", [layer.norm])
        print_convs(f"head {k} pwconv", [layer.pwconv])
    print_convs("final layer", [head.final_layer])
    weights = np.concatenate([rows(m).ravel() for m in network.modules() if isinstance(m, nn.Conv2d)])
    variances = [array(m.running_var) for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    below = (np.concatenate(variances) < BATCH_NORM_EPS).mean()
    print(f"all: running variances below epsilon {below:.3f}, weights subnormal in FP16 ", end="")
    print(f"{(np.abs(weights) < 2.0**-14).mean():.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
