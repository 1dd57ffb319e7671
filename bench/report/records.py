"""The files that have no reader elsewhere, as far as a report needs them; what else they hold is left alone."""

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from export.errors import BadInput


class Record(BaseModel):
    """Frozen; unknown keys are no error, for these files are written for others, too."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Machine(Record):
    """As ``bench.machine.machine`` says it."""

    cpu: str
    cores: int
    system: str


class FirstTableRow(Record):
    """One row of ``latency.json``."""

    runtime: str
    precision: str
    threads: int
    latency_ms: float | None
    speed_up: float | None
    speed_up_low: float | None
    speed_up_high: float | None


class FirstTable(Record):
    """``latency.json``: the table that an export takes; see ``bench.latency_table``."""

    schema_version: Literal["1.1"]
    machine: Machine
    rows: list[FirstTableRow]


class Price(Record):
    """The mean error beyond the reference's, with its 95 % interval."""

    mean: float
    low: float | None
    high: float | None


class EvaluatedDataset(Record):
    """What was evaluated on."""

    name: str
    samples: int


SIMULATED = "rounding, simulated"
"""The runner of an evaluation that is no runtime: it says what rounding costs, and nobody ships it."""


class Evaluated(Record):
    """One file, or the reference."""

    name: str
    runtime: str
    run_by: str
    reference: bool
    sha256: str | None
    mpjpe_mm: float | None
    price_mm: Price | None


class WeightsOf(Record):
    """The weights that were evaluated."""

    sha256: str


class AccuracyFile(Record):
    """``accuracy/*.json``, as ``evaluate`` writes it."""

    schema_version: Literal["1.0"]
    model: str
    weights: WeightsOf
    dataset: EvaluatedDataset
    contenders: list[Evaluated]


class RatioOf(Record):
    """A ratio with its interval."""

    median: float
    low: float
    high: float


class ComparedCell(Record):
    """One backend × precision of a comparison."""

    id: str
    outcome: Literal["PASS", "IMPROVED", "FAIL", "INCONCLUSIVE", "REFUSED"]
    reasons: list[str]
    slowdown: RatioOf | None
    allowed: float


class ComparisonFile(Record):
    """What ``compare --out`` writes."""

    schema_version: Literal["1.0"]
    kind: Literal["compare"]
    mode: str
    outcome: Literal["PASS", "IMPROVED", "FAIL", "INCONCLUSIVE", "REFUSED"]
    cells: list[ComparedCell]
    complete: bool
    reasons: list[str]


Read = TypeVar("Read", bound=Record)


def read_record(path: Path, kind: type[Read], what: str, do: str) -> Read:
    """Read ``path`` as ``kind``.

    Raises:
        BadInput: it is not there, is not JSON, is of another schema version, or lacks something.
    """
    try:
        plain: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise BadInput(f"cannot read {path}", error.strerror or str(error), do) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no {what}", "it is not JSON", do) from error
    known = kind.model_fields["schema_version"].annotation.__args__[0]  # type: ignore[union-attr]
    seen = plain.get("schema_version") if isinstance(plain, dict) else None
    if seen != known:
        raise BadInput(f"{path} is no {what} of schema {known}", f"schema_version {seen}", do)
    try:
        return kind.model_validate(plain)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{path} is no {what} of schema {known}", f"{where}: {first['msg']}", do) from error
