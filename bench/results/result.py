"""``OUT/MODEL/bench/result.json``: everything that a benchmark has seen. Tables and reports are views of it.

Figures that may not be shown are not in it: an invalid row has no timing, an unstable one no speed-up and no tail.
Raw samples lie beside it, in ``samples.npz``.
"""

import json
from pathlib import Path
from typing import Any, Literal

from bench.results.profile_record import PeakRecord, ProfileRecord
from bench.results.record import Record as _Record
from export.common.errors import BadInput
from export.common.files import sha256_file, write_text
from export.common.records import peek, read_record
from export.pipeline.manifest import Manifest

SCHEMA_VERSION = "1.1"
RESULT, SAMPLES = "result.json", "samples.npz"
INTERRUPTED = "interrupted"
"""The folder of an interrupted run's result, where there is a whole one."""
JSON_SCHEMA = Path(__file__).with_name("result.schema.json")


class RatioRecord(_Record):
    """How many times faster: the median over rounds and its exact interval."""

    median: float
    low: float
    high: float
    rounds: int


class SpeedUp(RatioRecord):
    """Over the reference; ``same``: less than twice what the control leaves open."""

    same: bool


class PercentileRecord(_Record):
    """Nearest rank; null below the floor, and in rows that are unstable."""

    quantile: float
    value_ms: float | None
    upper_ms: float | None
    floor: int


class MissesRecord(_Record):
    """How many samples came later than the deadline."""

    deadline_ms: float
    missed: int
    rate: float
    low: float
    high: float


class Latency(_Record):
    """One boundary of one row, batch 1."""

    samples: int
    rounds: int
    p50_ms: float
    """Median of round medians: of this run on this machine."""
    round_median_low_ms: float
    round_median_high_ms: float
    max_ms: float
    percentiles: list[PercentileRecord]
    deadlines: list[MissesRecord]
    jitter_ms: float | None
    """p99 − p50."""
    outliers: int
    """Beyond Tukey's outer fences; they are counted, and stay."""
    round_spread: float
    """Interquartile range of round medians over their median."""


class LaunchRecord(_Record):
    """One of several launches of all workers: what chance at the start is worth."""

    p50_ms: float
    """Median of this launch's round medians."""
    speed_up: float | None
    """Median ratio to the reference, of this launch's rounds; null where the row has none, and for the reference."""


class WarmUpRecord(_Record):
    """How warming up went; of several launches, where it took longest."""

    state: Literal["steady", "not_steady"]
    seconds: float
    windows_ms: list[float]


class ColdStart(_Record):
    """In fresh processes: until the first result. The files lie in the page cache."""

    processes: int
    import_ms: list[float]
    load_ms: list[float]
    first_ms: list[float]


class Memory(_Record):
    """Resident memory of the worker, in MiB."""

    after_import_mib: float
    peak_after_load_mib: float
    peak_after_first_mib: float
    peak_mib: float | None


class ThroughputPoint(_Record):
    """One point of the closed loop: so many images at a time, so many calls in flight."""

    batch: int
    in_flight: int
    images_per_s: float
    p50_ms: float
    seconds: float
    calls: int


class ImageToJoints(_Record):
    """One person in a photo in memory → joints in the photo's pixels, in a pass of its own; medians."""

    image_width: int
    image_height: int
    samples: int
    total_p50_ms: float
    crop_p50_ms: float
    normalise_p50_ms: float | None
    """Null where the network takes pixels."""
    network_p50_ms: float
    decode_p50_ms: float


class Energy(_Record):
    """Joules an inference, batch 1, in a pass of its own. ``net`` is without what was taken while idle."""

    source: str
    gross_j: float
    net_j: float
    inferences: int
    seconds: float
    power_w: float
    idle_w: float
    idle_seconds: float
    caveat: str


class Row(_Record):
    """One backend × precision."""

    id: str
    runtime: str
    precision: str
    precision_used: str | None
    batch: int
    threads: int
    artifact: str | None
    artifact_sha256: str | None
    artifact_bytes: int | None
    is_reference: bool
    verdict: Literal["stable", "noisy", "unstable", "invalid"]
    reasons: list[str]
    parity: dict[str, Any] | None
    latency: dict[str, Latency]
    """By boundary: host_e2e is the headline."""
    speed_up: SpeedUp | None
    launches: list[LaunchRecord] | None
    """Null where there is but one."""
    warm_up: WarmUpRecord | None
    cold_start: ColdStart | None
    memory: Memory | None
    image_to_joints: ImageToJoints | None
    image_to_joints_reason: str | None
    throughput: list[ThroughputPoint] | None
    throughput_reason: str | None
    profile: ProfileRecord | None
    profile_reason: str | None
    energy: Energy | None
    energy_reason: str | None
    facts: dict[str, Any]
    description: str | None

    @property
    def best_throughput(self) -> ThroughputPoint | None:
        """The point with the most images a second."""
        return max(self.throughput or [], key=lambda point: point.images_per_s, default=None)


class NotRunRow(_Record):
    """What was not measured, and why. It is never counted as measured."""

    runtime: str
    precision: str | None
    reason: str


class SamplesFile(_Record):
    """Where the raw samples are."""

    path: str
    sha256: str


class Result(_Record):
    """The whole file."""

    schema_version: str = SCHEMA_VERSION
    kind: Literal["bench", "compare"] = "bench"
    created: str
    model: str
    weights: str
    complete: bool
    mode: str
    protocol: dict[str, Any]
    stop_reason: str | None
    precision_reached: bool
    rounds: int
    environment: dict[str, Any]
    fingerprint: str
    sensors: list[dict[str, Any]]
    reference_id: str
    control: RatioRecord | None
    """A′ over A: two instances of the reference, which must not differ."""
    harness_overhead_ns: float | None
    coordinator_peak_mib: float | None = None
    """Resident memory of the process that times the workers."""
    rows: list[Row]
    not_run: list[NotRunRow]
    peaks: list[PeakRecord]
    """What the parts of profiles are measured by."""
    peaks_reason: str | None
    samples: SamplesFile | None

    def row(self, identity: str) -> Row | None:
        """The row of this id."""
        return next((row for row in self.rows if row.id == identity), None)


def require_of_export(result: Result, manifest: Manifest, path: Path) -> None:
    """Check that a result at ``path`` was measured on the files of an export.

    Raises:
        BadInput: it is of another model or other files.
    """
    do = f"measure again: convnextpose bench {path.parent.parent}"
    if result.model != manifest.model:
        raise BadInput(f"{path} is of another model", f"{result.model}, and {manifest.model} in the manifest", do)
    known = {artifact.path: artifact.sha256 for artifact in manifest.artifacts}
    for row in result.rows:
        if row.artifact is not None and known.get(row.artifact) != row.artifact_sha256:
            listed = (known.get(row.artifact) or "no such file")[:12]
            seen = f"{row.artifact}: {str(row.artifact_sha256)[:12]} was measured, {listed} is in the manifest"
            raise BadInput(f"{path} was measured on other files than those of the export", seen, do)


def write_result(folder: Path, result: Result) -> Path:
    """Write ``result.json``; returns its path."""
    path = folder / RESULT
    write_text(path, result.model_dump_json(indent=2) + "\n")
    return path


def place_for(folder: Path, *, complete: bool) -> Path:
    """Where a result is written: what was interrupted never replaces what is whole."""
    if complete:
        return folder
    return folder / INTERRUPTED if peek(folder / RESULT, "complete") else folder


def read_result(path: Path) -> Result:
    """Read a result of this schema version, with its samples as they were written.

    Raises:
        BadInput: missing, no result, of another schema version, or its samples were changed.
    """
    do = "measure again: convnextpose bench"
    result = read_record(path, Result, (SCHEMA_VERSION,), "result", do)
    if result.samples is not None:
        beside = path.parent / result.samples.path
        if beside.is_file() and sha256_file(beside) != result.samples.sha256:
            raise BadInput(f"{beside} does not belong to {path}", "its hash is another", do)
    return result


def json_schema() -> str:
    """The schema that lies in ``result.schema.json`` (JSON Schema 2020-12)."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | Result.model_json_schema(), indent=2) + "\n"
