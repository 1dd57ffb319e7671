"""Models of the files that have no model of their own, as far as a report needs them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Outcome = Literal["PASS", "IMPROVED", "FAIL", "INCONCLUSIVE", "REFUSED"]
SIMULATED = "rounding, simulated"
"""The runtime name of an evaluation that simulates rounding: nobody ships it."""


class _Record(BaseModel):
    """Frozen; unknown keys are ignored, because these files serve others, too."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


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
