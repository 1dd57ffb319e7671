"""``OUT/MODEL/bench/result.json``: all measurements of a benchmark. Tables and reports are views of it.

It has no figures that must not be shown: an invalid row has no timing, an unstable one no speed-up and no tail.
Raw samples are beside it, in ``samples.npz``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import with_config

from bench.results.checked import Environment, Facts, Parity, Protocol
from bench.results.profile_record import ProfileRecord
from bench.results.record import Record as _Record
from bench.stats.statistics import STORED, Misses, Percentile, Ratio
from bench.stats.steadiness import WarmUp
from export.common.errors import BadInput, CheckFailed, Inconclusive
from export.common.files import sha256_file, write_text
from export.common.records import peek, read_record
from export.pipeline.manifest import Manifest

SCHEMA_VERSION = "1.3"
RESULT, SAMPLES = "result.json", "samples.npz"
INTERRUPTED = "interrupted"
"""Folder for the result of an interrupted run, if there is a complete one."""


@with_config(STORED)
@dataclass(frozen=True)
class SpeedUp(Ratio):
    """Speed-up over the reference; ``same``: the difference is less than twice the control's."""

    same: bool


class Latency(_Record):
    """Latency of one row at one boundary, batch 1."""

    samples: int
    rounds: int
    p50_ms: float
    """Median of round medians, of this run on this machine."""
    round_median_low_ms: float
    round_median_high_ms: float
    max_ms: float
    percentiles: list[Percentile]
    deadlines: list[Misses]


class LaunchRecord(_Record):
    """Figures of one of several launches: they differ by chance at the start."""

    p50_ms: float
    """Median of this launch's round medians."""
    speed_up: float | None
    """Median over this launch's rounds; null for the reference, and if the row has none."""


class ColdStart(_Record):
    """Times until the first result in fresh processes. The files are in the page cache."""

    processes: int
    import_ms: list[float]
    load_ms: list[float]
    first_ms: list[float]


class Memory(_Record):
    """Resident memory of the worker, in MiB."""

    peak_mib: float


class ThroughputPoint(_Record):
    """Throughput of a closed loop with a batch size and a number of calls in flight."""

    batch: int
    in_flight: int
    images_per_s: float
    p50_ms: float
    seconds: float
    calls: int


class ImageToJoints(_Record):
    """Medians of the way from a photo in memory to a person's joints in its pixels, in a pass of its own."""

    image_width: int
    image_height: int
    samples: int
    total_p50_ms: float
    crop_p50_ms: float
    normalise_p50_ms: float | None
    """Null if the network takes pixels."""
    network_p50_ms: float
    decode_p50_ms: float


class Energy(_Record):
    """Joules an inference, batch 1, in a pass of its own. ``net`` is without the idle power."""

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
    """One runtime × precision."""

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
    parity: Parity | None
    latency: dict[str, Latency]
    """By boundary; host_e2e is the headline."""
    speed_up: SpeedUp | None
    launches: list[LaunchRecord] | None
    """Null for a single launch."""
    warm_up: WarmUp | None
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
    facts: Facts
    description: str | None

    @property
    def best_throughput(self) -> ThroughputPoint | None:
        """Point with the most images a second."""
        return max(self.throughput or [], key=lambda point: point.images_per_s, default=None)


class NotRunRow(_Record):
    """A skipped row with its reason. It is never counted as measured."""

    runtime: str
    precision: str | None
    reason: str

    @property
    def name(self) -> str:
        """The row's name for a reader."""
        return f"{self.runtime} {self.precision or ''}".strip()


class SamplesFile(_Record):
    """File of the raw samples."""

    path: str
    sha256: str


class Result(_Record):
    """The whole file."""

    schema_version: str = SCHEMA_VERSION
    kind: Literal["bench"] = "bench"
    created: str
    model: str
    weights: str
    complete: bool
    mode: str
    protocol: Protocol
    stop_reason: str | None
    precision_reached: bool
    rounds: int
    environment: Environment
    fingerprint: str
    sensors: list[dict[str, Any]]
    reference_id: str
    control: Ratio | None
    """Ratio of two instances of the reference, which must not differ."""
    harness_overhead_ns: float | None
    coordinator_peak_mib: float | None = None
    """Resident memory of the process that times the workers."""
    rows: list[Row]
    not_run: list[NotRunRow]
    samples: SamplesFile | None


def require_of_export(result: Result, manifest: Manifest, path: Path) -> None:
    """Check that a result at ``path`` was measured on the files of an export.

    Raises:
        BadInput: it belongs to another model or other files.
    """
    advice = f"measure again: convnextpose bench {path.parent.parent}"
    if result.model != manifest.model:
        detail = f"{result.model}, and {manifest.model} in the manifest"
        raise BadInput(f"{path} belongs to another model", detail, advice)
    known = {artifact.path: artifact.sha256 for artifact in manifest.artifacts}
    for row in result.rows:
        if row.artifact is not None and known.get(row.artifact) != row.artifact_sha256:
            listed = (known.get(row.artifact) or "no such file")[:12]
            detail = f"{row.artifact}: {str(row.artifact_sha256)[:12]} was measured, {listed} is in the manifest"
            raise BadInput(f"{path} was measured on other files than the export's", detail, advice)


def require_valid_rows(result: Result) -> None:
    """Check that at least one artifact could be measured; the reference counts only where it is alone.

    Raises:
        CheckFailed: every row is invalid, and a check has failed.
        Inconclusive: every row is invalid, because parity could not decide.
    """
    rows = [row for row in result.rows if not row.is_reference] or result.rows
    if not rows or any(row.verdict != "invalid" for row in rows):
        return
    detail = "; ".join(f"{row.id}: {', '.join(row.reasons)}" for row in rows)
    if all(row.parity and row.parity["outcome"] == "inconclusive" for row in rows):
        advice = "export again with --images that show people: convnextpose export … --images FOLDER"
        raise Inconclusive("every row is invalid: parity cannot decide", detail, advice)
    raise CheckFailed("every row is invalid", detail, "see the reasons; do not ship what fails its parity")


def write_result(folder: Path, result: Result) -> Path:
    """Write ``result.json`` and return its path."""
    path = folder / RESULT
    write_text(path, result.model_dump_json(indent=2) + "\n")
    return path


def place_for(folder: Path, *, complete: bool) -> Path:
    """Return the folder for a result: an interrupted one never replaces a complete one."""
    if complete:
        return folder
    return folder / INTERRUPTED if peek(folder / RESULT, "complete") else folder


def read_result(path: Path) -> Result:
    """Read a result of this schema version, and check the hash of its samples.

    Raises:
        BadInput: missing, no result, another schema version, or changed samples.
    """
    advice = "measure again: convnextpose bench"
    result = read_record(path, Result, (SCHEMA_VERSION,), "result", advice)
    if result.samples is not None:
        samples = path.parent / result.samples.path
        if samples.is_file() and sha256_file(samples) != result.samples.sha256:
            raise BadInput(f"{samples} does not belong to {path}", "its hash differs", advice)
    return result
