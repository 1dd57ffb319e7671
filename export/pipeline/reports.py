"""Reports of the steps of an export: their results, as ``.steps`` and the manifest hold them.

This module imports neither torch nor onnx, so that an export that is up to date stays fast.
"""

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from export.common.records import Record
from export.parity.budgets import Budget, Outcome


class StatisticsLimits(Record):
    """Largest mismatch of images that a network knows."""

    mean_shift: float
    log_variance_ratio: float


class StatisticsReport(Record):
    """Comparison of images with the network's BatchNorm statistics: see ``export.images.norm_statistics``."""

    verdict: Literal["known", "unknown", "not available"]
    reason: str
    mean_shift: float | None
    log_variance_ratio: float | None
    images: int
    limits: StatisticsLimits
    every_norm: str | None = None
    """The file with the figures of each norm, of parity's images; others have no such key."""

    @model_serializer(mode="wrap")
    def _leave_out_no_file(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = serialize(self)
        return {key: value for key, value in plain.items() if key != "every_norm" or value is not None}


class ImagesReport(Record):
    """Images on which a network is compared or calibrated."""

    source: str
    count: int
    sha256: str
    notes: tuple[str, ...]
    statistics: StatisticsReport


class RangesReport(Record):
    """The largest values that a half precision has to hold; null is not finite."""

    schema_version: str
    precision: str
    every_layer: str
    """The file with the values of all layers."""
    limit: float
    """The largest finite value of the precision."""
    images: int
    overflowing: dict[str, float | None]
    activations: dict[str, float | None]
    """The largest values, largest first."""
    weights: dict[str, float | None]


class ErrorReport(Record):
    """Errors over all joints of all images; null is not finite."""

    mean_mm: float | None
    p99_mm: float | None
    max_mm: float | None
    max_bins: float | None
    max_pixels: float | None


class SpreadReport(Record):
    """Spread of the true joints in mm."""

    over_images_mm: float | None
    over_joints_mm: float | None


class BatchReport(Record):
    """Parity at one batch size; see ``export.parity.comparison.Parity``."""

    outcome: Outcome
    reason: str
    grade: str
    candidate: ErrorReport
    reference: ErrorReport
    floor: ErrorReport
    signal: SpreadReport
    per_joint_max_mm: tuple[float | None, ...]
    worst_image: int
    worst_joint: int


class RunReport(Record):
    """Parity of a file in one runtime."""

    runner: str
    """Name of the runtime, or of the simulation."""
    runtime: str
    """Runtime, version, device, and the types that it computed in."""
    status: str
    worst_batch: int
    batches: dict[str, BatchReport]


class SkippedRun(Record):
    """A runtime that could not run the file here."""

    runner: str
    reason: str


class ParityReport(BatchReport):
    """Parity of one ONNX file; the figures are those of its worst run."""

    schema_version: Literal["2.0"] = "2.0"
    artifact: str
    precision: str
    variant: str = Field(alias="edition")
    images: ImagesReport
    runs: tuple[RunReport, ...]
    not_run: tuple[SkippedRun, ...]
    runtime: str
    """That of the worst run."""
    batches: tuple[int, ...]
    worst_batch: int
    worst_joint_name: str
    budget: Budget
    status: str
