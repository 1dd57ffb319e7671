"""Models of the files that have no model of their own, as far as a report needs them."""

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from export.errors import BadInput

Outcome = Literal["PASS", "IMPROVED", "FAIL", "INCONCLUSIVE", "REFUSED"]
SIMULATED = "rounding, simulated"
"""The runtime name of an evaluation that simulates rounding: nobody ships it."""


class _Record(BaseModel):
    """Frozen; unknown keys are ignored, because these files serve others, too."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Machine(_Record):
    """The machine of the first latency table."""

    cpu: str
    cores: int


class FirstTableRow(_Record):
    """One row of ``latency.json``."""

    runtime: str
    precision: str
    threads: int
    latency_ms: float
    speed_up: float
    speed_up_low: float
    speed_up_high: float


class FirstTable(_Record):
    """``latency.json``: the first look that an export takes."""

    schema_version: Literal["1.0"]
    machine: Machine
    rows: list[FirstTableRow]


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


Read = TypeVar("Read", FirstTable, Evaluation, Comparison)


def read_record(path: Path, kind: type[Read], what: str, do: str) -> Read:
    """Read ``path`` as ``kind``.

    Raises:
        BadInput: it is missing, is not JSON, has another schema version, or lacks a field.
    """
    try:
        plain: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise BadInput(f"cannot read {path}", error.strerror or str(error), do) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no {what}", "it is not JSON", do) from error
    seen = plain.get("schema_version") if isinstance(plain, dict) else None
    if seen != "1.0":
        raise BadInput(f"{path} is no {what} of schema 1.0", f"schema_version {seen}", do)
    try:
        return kind.model_validate(plain)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{path} is no {what} of schema 1.0", f"{where}: {first['msg']}", do) from error
