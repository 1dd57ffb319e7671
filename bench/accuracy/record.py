"""``OUT/MODEL/accuracy/DATASET.json``: the errors of every artifact on annotated images, with the published figures."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from export.common.interface import variant_of

SCHEMA_VERSION = "1.0"


class _Record(BaseModel):
    """Frozen record without NaN and infinity; some JSON keys are older than the names used here."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True, serialize_by_alias=True
    )


class AccuracyLoss(_Record):
    """MPJPE of an artifact minus that of the reference, in mm, with its 95 % interval; one sample has none."""

    mean: float
    low: float | None
    high: float | None


class ErrorToReference(_Record):
    """Distance of joints from the reference's, in mm; null for the reference itself."""

    mean: float | None
    max: float | None


class Errors(_Record):
    """Mean errors over joints and samples; null without annotations in mm, and for values that are not finite."""

    mpjpe_mm: float | None
    pa_mpjpe_mm: float | None
    error_px: float | None


class JointErrors(_Record):
    """Mean errors by joint, in the order of ``joint_names``; empty without such annotations."""

    mpjpe_mm: tuple[float | None, ...]
    pa_mpjpe_mm: tuple[float | None, ...]
    error_px: tuple[float | None, ...]


class Evaluated(Errors):
    """One artifact in one runtime, or the reference."""

    name: str
    runtime: str
    precision: str
    takes_pixels: bool
    run_by: str = Field(pattern=r"^\S")
    reference: bool
    sha256: str | None
    """Hash of the artifact; null for the reference."""
    accuracy_loss_mm: AccuracyLoss | None = Field(validation_alias="price_mm", serialization_alias="price_mm")
    error_mm: ErrorToReference = Field(validation_alias="drift_mm", serialization_alias="drift_mm")
    joints: JointErrors
    groups: dict[str, Errors]
    """By action."""
    seconds: float
    finite: bool
    """False if some joints are not finite."""

    @property
    def label(self) -> str:
        """Runtime and variant, for the head of a column."""
        return f"{self.runtime} {self.variant}"

    @property
    def variant(self) -> str:
        """Precision and input format."""
        return variant_of(self.precision, takes_pixels=self.takes_pixels)


class EvaluatedDataset(_Record):
    """The annotated images; other keys tell them apart, and depend on the dataset."""

    model_config = ConfigDict(extra="allow")

    name: str
    samples: int
    notes: tuple[str, ...]


class EvaluatedWeights(_Record):
    """The weights that were evaluated."""

    origin: Literal["checkpoint", "demo", "stand-in"]
    path: str | None
    sha256: str


class Evaluation(_Record):
    """The whole file."""

    schema_version: str = SCHEMA_VERSION
    model: str
    weights: EvaluatedWeights
    dataset: EvaluatedDataset
    flip: bool
    """True if errors are those of the mean over mirrored images."""
    joint_names: tuple[str, ...]
    counted_joints: tuple[str, ...]
    """Joints that errors are averaged over."""
    published: tuple[dict[str, str], ...]
    """Published figures of the declared model, by source."""
    rows: tuple[Evaluated, ...] = Field(validation_alias="contenders", serialization_alias="contenders")
    machine: dict[str, str | int | float]
    seconds: float
    samples_per_s: float | None

    def joint_errors(self, row: Evaluated, measure: str) -> dict[str, float | None]:
        """Return one row's errors of a measure by joint; empty without such annotations."""
        return dict(zip(self.joint_names, getattr(row.joints, measure), strict=False))
