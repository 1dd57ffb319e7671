"""Models of the files that have no model of their own, as far as a report needs them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Outcome = Literal["PASS", "IMPROVED", "FAIL", "INCONCLUSIVE", "REFUSED"]
SIMULATED = "rounding, simulated"
"""The runtime name of an evaluation that simulates rounding: nobody ships it."""


class _Record(BaseModel):
    """Frozen; unknown keys are ignored, because these files serve others, too."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class AccuracyLoss(_Record):
    """MPJPE of an artifact minus MPJPE of the reference, in mm, with its 95 % interval."""

    mean: float
    low: float | None
    high: float | None


class EvaluatedDataset(_Record):
    """The annotated images of an evaluation."""

    name: str
    samples: int


class Evaluated(_Record):
    """One artifact, or the reference."""

    name: str
    runtime: str
    run_by: str
    sha256: str | None
    mpjpe_mm: float | None
    accuracy_loss_mm: AccuracyLoss | None = Field(alias="price_mm")


class EvaluatedWeights(_Record):
    """The weights that were evaluated."""

    sha256: str


class Evaluation(_Record):
    """``accuracy/*.json``, as ``evaluate`` writes it."""

    schema_version: Literal["1.0"]
    weights: EvaluatedWeights
    dataset: EvaluatedDataset
    rows: list[Evaluated] = Field(alias="contenders")


class Slowdown(_Record):
    """Time of the candidate over time of the baseline, with its interval."""

    median: float
    low: float
    high: float


class ComparedCell(_Record):
    """One runtime and precision of a comparison."""

    id: str
    outcome: Outcome
    reasons: list[str]
    slowdown: Slowdown | None
    allowed: float


class Comparison(_Record):
    """The file that ``compare --out`` writes."""

    schema_version: Literal["1.0"]
    kind: Literal["compare"]
    mode: str
    outcome: Outcome
    cells: list[ComparedCell]
    complete: bool
    reasons: list[str]
