"""The precision plan: the precision of each convolution, the reason, and the images that it was measured on."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from export.common.errors import CheckFailed
from export.common.records import read_record
from export.images.image_set import ImagesRecord
from export.model.architecture import Architecture
from export.plan.placement import PlannedConv, segment_of

SCHEMA_VERSION = "3.2"
"""3.1 also had the hash of the weights."""
HIGHER = {"int8": "fp16", "fp16": "fp32", "bf16": "fp32"}
"""Precision → the next higher one, for convolutions that cost too much accuracy."""
TOO_MANY = ": too many"
"""End of a search line about a grade that needs too many convolutions in the higher precision."""


@dataclass(frozen=True)
class PrecisionPlan:
    """The convolutions in data order, and the calibration images."""

    precision: str
    """The requested precision: fp16, bf16 or int8."""
    architecture: Architecture
    convs: tuple[PlannedConv, ...]
    calibration: ImagesRecord
    aim: str | None = None
    """Grade that the search reached on the calibration images; None if there was no search."""
    mean_mm: float | None = None
    """Mean error of the simulated graph on the calibration images, against the FP32 network."""
    p99_mm: float | None = None
    search: tuple[str, ...] = ()
    """Log of the search, one line per step."""
    search_seconds: float | None = None
    schema_version: str = SCHEMA_VERSION

    @property
    def quantized(self) -> tuple[PlannedConv, ...]:
        """The convolutions in INT8."""
        return tuple(conv for conv in self.convs if conv.precision == "int8")

    @property
    def in_fp32(self) -> frozenset[str]:
        """Names of the segments in FP32."""
        return frozenset(segment_of(conv.name) for conv in self.convs if conv.precision == "fp32")

    @property
    def in_own_precision(self) -> frozenset[str]:
        """Names of the convolutions in the requested precision."""
        return frozenset(conv.name for conv in self.convs if conv.precision == self.precision)

    def share(self, precision: str) -> float:
        """Return the share of all multiplies in this precision."""
        return sum(conv.macs for conv in self.convs if conv.precision == precision) / sum(c.macs for c in self.convs)

    def raise_precision(self, names: Collection[str], reason: str) -> "PrecisionPlan":
        """Return the same plan with these convolutions in the next higher precision."""
        higher = HIGHER[self.precision]
        convs = (replace(c, precision=higher, reason=reason) if c.name in names else c for c in self.convs)
        return replace(self, convs=tuple(convs))

    def summary(self) -> str:
        """Return one line, such as ``FP16, 3 of 48 convolutions in FP32``."""
        count = len(self.convs)
        if self.precision == "int8":
            share = f"{self.share('int8'):.0%} of the multiplies"
            return f"INT8: {len(self.quantized)} of {count} convolutions, {share}; the rest in FP16"
        in_fp32 = count - len(self.in_own_precision)
        return f"{self.precision.upper()}, {in_fp32 or 'none'} of {count} convolutions in FP32"

    def require_not_empty(self) -> None:
        """Refuse a plan without a convolution in the requested precision.

        Raises:
            CheckFailed: there is none.
        """
        if not self.in_own_precision:
            problem = f"no convolution can be {self.precision} within the error budget"
            higher = HIGHER[self.precision]
            advice = f"use --precision {higher}; or calibrate with crops like the training images (--calibration)"
            raise CheckFailed(problem, self.search[-1], advice)

    def as_json(self) -> dict[str, Any]:
        """Return plain data for ``read_plan``."""
        return asdict(self)


def read_plan(path: Path) -> PrecisionPlan:
    """Read the plan of an export.

    Raises:
        BadInput: not a plan, or another schema version.
    """
    return read_record(path, PrecisionPlan, (SCHEMA_VERSION,), "precision plan", "export the model again")
