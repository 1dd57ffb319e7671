"""Distributions of a trained network's weights by kind of layer.

Measured on 2026-11-30 on an XS checkpoint in which 183 of 194 tensors are
those of the released file (snapshot 68, weight decay 0.1); the stem convolution, its norm and the norm before the first
downsampling had been fitted again. The file's weights cannot be recovered from these figures.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class LogNormal:
    """Distribution of a magnitude, by its natural logarithm."""

    location: float
    """The median."""
    spread: float
    """Half the distance of the quantiles 0.16 and 0.84."""
    most: float
    """The quantile 0.98: the upper tails are shorter than those of a normal distribution."""


@dataclass(frozen=True)
class ConvStatistics:
    """Filters and biases of a kind of convolution."""

    filter_rms: LogNormal
    """Root mean square of one filter's weights."""
    bias: LogNormal
    sum_ratio: LogNormal | None = None
    """sum|w| / |sum w| of one filter, if it is not that of independent weights."""


@dataclass(frozen=True)
class NormStatistics:
    """Gains, biases and running variances of a kind of norm."""

    gain: LogNormal
    negative_gains: float
    bias: LogNormal
    variance: LogNormal


STEM = ConvStatistics(
    LogNormal(-3.55, 0.0, -3.55),
    LogNormal(-6.33, 1.14, -4.10),  # the bias of its norm, since the file's stem has none
    LogNormal(4.44, 0.98, 8.41),
)
STEM_NORM = NormStatistics(
    LogNormal(-4.92, 1.41, -3.23), 0.0, LogNormal(-6.33, 1.14, -4.10), LogNormal(4.80, 0.75, 5.97)
)
DOWNSAMPLING_NORM = NormStatistics(
    LogNormal(-4.71, 1.50, -3.62), 0.12, LogNormal(-7.49, 1.61, -4.85), LogNormal(-10.30, 0.80, -8.73)
)
DOWNSAMPLING = ConvStatistics(LogNormal(-4.20, 0.20, -3.70), LogNormal(-7.16, 1.08, -4.44))
BLOCK_DWCONV = ConvStatistics(LogNormal(-3.54, 0.12, -3.18), LogNormal(-4.65, 1.01, -3.32))
BLOCK_NORM = NormStatistics(
    LogNormal(-2.25, 0.27, -1.67), 0.05, LogNormal(-5.85, 1.60, -2.57), LogNormal(-13.44, 0.77, -11.70)
)
BLOCK_PWCONV1 = ConvStatistics(LogNormal(-3.83, 0.08, -3.58), LogNormal(-5.12, 1.0, -3.91))
"""Filters of live hidden units. The biases' spread, which dead units widen to 4.89, is that of the depthwise biases."""
BLOCK_PWCONV2 = ConvStatistics(LogNormal(-3.84, 0.28, -3.34), LogNormal(-7.49, 1.13, -5.22))
DEAD_HIDDEN_UNITS = 0.238
"""Share of the blocks' hidden units that weight decay reduced to almost nothing."""
DEAD_HIDDEN_RMS = LogNormal(-21.8, 16.4, -6.6)
"""Distribution of a dead unit's row in ``pwconv1`` and of its column in ``pwconv2``."""
FINAL_NORM = NormStatistics(
    LogNormal(-2.83, 0.52, -2.39), 0.12, LogNormal(-4.96, 1.32, -3.25), LogNormal(-10.03, 0.22, -9.32)
)
HEAD_DWCONVS = (
    ConvStatistics(LogNormal(-3.81, 0.17, -3.30), LogNormal(-5.20, 1.56, -3.64), LogNormal(1.00, 1.33, 5.42)),
    ConvStatistics(LogNormal(-3.29, 0.13, -2.97), LogNormal(-4.50, 1.02, -3.41), LogNormal(0.27, 1.17, 4.10)),
    ConvStatistics(LogNormal(-1.72, 0.21, -1.49), LogNormal(-4.06, 1.44, -2.43), LogNormal(0.00, 0.04, 0.93)),
)
HEAD_NORMS = (
    NormStatistics(LogNormal(-3.00, 0.36, -2.51), 0.07, LogNormal(-5.87, 1.88, -3.67), LogNormal(-11.17, 0.95, -9.55)),
    NormStatistics(LogNormal(-2.54, 0.24, -2.00), 0.0, LogNormal(-6.06, 1.38, -3.90), LogNormal(-13.26, 0.82, -11.56)),
    NormStatistics(LogNormal(-0.78, 0.25, -0.31), 0.0, LogNormal(-2.37, 1.52, -0.48), LogNormal(-10.47, 0.74, -9.46)),
)
HEAD_PWCONVS = (
    ConvStatistics(LogNormal(-3.96, 0.05, -3.81), LogNormal(-5.01, 0.95, -2.98)),
    ConvStatistics(LogNormal(-3.59, 0.13, -3.30), LogNormal(-5.71, 0.89, -4.04)),
    ConvStatistics(LogNormal(-2.21, 0.18, -1.95), LogNormal(-2.27, 0.54, -1.49)),
)
FINAL_LAYER = ConvStatistics(LogNormal(-2.52, 0.24, -2.12), LogNormal(-4.06, 1.08, -2.01))
"""``random_weights`` scales this layer further, until joints spread over the volume."""
