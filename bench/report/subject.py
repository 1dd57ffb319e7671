"""One exported model and all that is known of it on one machine, in plain values: what figures and sections read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from bench.report.devices.told import Told

Verdict = Literal["stable", "noisy", "unstable", "invalid"]


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval, where there is one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SpeedUp:
    """Over the reference. ``same``: not told apart from it."""

    median: float
    low: float
    high: float
    same: bool = False


@dataclass(frozen=True)
class Tail:
    """A percentile; without figures where samples or rounds are too few, or the row is unstable."""

    quantile: float
    value_ms: float | None
    upper_ms: float | None
    floor: int


@dataclass(frozen=True)
class Misses:
    """How many calls came later than the deadline."""

    deadline_ms: float
    missed: int
    rate: float
    high: float


@dataclass(frozen=True)
class Timing:
    """Latency at one boundary, one image."""

    boundary: str
    samples: int
    rounds: int
    p50_ms: float
    low_ms: float
    """The lowest round median."""
    high_ms: float
    tails: tuple[Tail, ...]
    misses: tuple[Misses, ...]

    def tail(self, quantile: float) -> Tail | None:
        """This percentile."""
        return next((of for of in self.tails if of.quantile == quantile), None)


@dataclass(frozen=True)
class Drift:
    """Parity of the session that was timed: its joints' distance from the FP64 truth."""

    outcome: str
    status: str
    """The outcome in words: what was asked no limit in mm is not said to pass."""
    reason: str
    mean_mm: float | None
    max_mm: float | None
    images: int


@dataclass(frozen=True)
class Accuracy:
    """What an evaluation says of the file that a row runs."""

    dataset: str
    samples: int
    run_by: str
    mpjpe_mm: float | None
    price_mm: Interval | None
    """The mean error beyond the reference's, on the same images."""


@dataclass(frozen=True)
class ThroughputPoint:
    """So many images at a time, so many calls in flight."""

    batch: int
    in_flight: int
    images_per_s: float
    p50_ms: float
    calls: int


@dataclass(frozen=True)
class PhotoToJoints:
    """One person in a photo in memory → joints in its pixels: medians in ms, of the whole way and of each stage."""

    width: int
    height: int
    samples: int
    total_ms: float
    crop_ms: float
    normalise_ms: float | None
    """None where the network takes pixels."""
    network_ms: float
    decode_ms: float


@dataclass(frozen=True)
class Launch:
    """One of several launches of all workers."""

    p50_ms: float
    speed_up: float | None


@dataclass(frozen=True)
class Part:
    """One part of the network in a row's profile."""

    name: str
    ms: float
    time_share: float
    macs_share: float
    gflops: float | None
    peak_share: float | None


@dataclass(frozen=True)
class Profile:
    """Where a row's time goes, from a pass of its own."""

    graph: str
    """Of which graph the MACs are: as exported, or as released."""
    parts: tuple[Part, ...]
    account: str
    """How far it is to be believed."""


@dataclass(frozen=True)
class Row:
    """One backend × precision."""

    id: str
    runtime: str
    precision: str
    computes: str | None
    """Where the runtime computes in another type than the file is of."""
    is_reference: bool
    verdict: Verdict
    reasons: tuple[str, ...]
    drift: Drift | None = None
    file: str | None = None
    file_sha256: str | None = None
    file_bytes: int | None = None
    timings: Mapping[str, Timing] | None = None
    """By boundary; none at all in an invalid row."""
    speed_up: SpeedUp | None = None
    peak_mib: float | None = None
    build_s: float | None = None
    load_ms: tuple[float, ...] = ()
    first_ms: tuple[float, ...] = ()
    throughput: tuple[ThroughputPoint, ...] = ()
    throughput_reason: str | None = None
    photo: PhotoToJoints | None = None
    photo_reason: str | None = None
    launches: tuple[Launch, ...] = ()
    """In order; none where there was only one."""
    profile: Profile | None = None
    profile_reason: str | None = None
    energy_j: float | None = None
    """Net of what was taken while idle, an inference."""
    energy_reason: str | None = None
    accuracy: tuple[Accuracy, ...] = ()
    rounds_ms: tuple[tuple[int, float], ...] = ()
    """(round, its median)."""
    slower: tuple[tuple[float, float], ...] = ()
    """(ms, share of calls that took longer): what the tail's figure draws."""

    @property
    def name(self) -> str:
        """For a reader: ``openvino fp16``."""
        return f"{self.runtime} {self.precision}"

    @property
    def ranked(self) -> bool:
        """Whether its figures may be compared with those of others."""
        return self.verdict in ("stable", "noisy")

    @property
    def headline(self) -> Timing | None:
        """From NumPy to NumPy."""
        return (self.timings or {}).get(HEADLINE)


HEADLINE = "host_e2e"


@dataclass(frozen=True)
class StateCurve:
    """What one sensor said between the rounds."""

    name: str
    unit: str
    points: tuple[tuple[int, float], ...]
    """(rounds that were over, reading)."""


@dataclass(frozen=True)
class Bench:
    """One benchmark."""

    created: str
    mode: str
    complete: bool
    rounds: int
    stop_reason: str | None
    precision_reached: bool
    threads: int
    seed: int
    budget_s: float | None
    """For the rounds."""
    control: SpeedUp | None
    """A′ over A: two instances of the reference."""
    overhead_ns: float | None
    rows: tuple[Row, ...]
    not_run: tuple[tuple[str, str], ...]
    """(what, why)."""
    state: tuple[StateCurve, ...]
    peaks: tuple[tuple[str, float, str], ...]
    """(precision, GFLOP/s, library)."""
    peaks_reason: str | None
    environment: Mapping[str, Any]
    fingerprint: str
    identity: Mapping[str, Any]
    """What the fingerprint is taken of."""
    samples_missing: str | None = None


@dataclass(frozen=True)
class ParityResult:
    """Parity of one exported file, of its worst run."""

    edition: str
    file: str
    outcome: str
    status: str
    reason: str
    run_by: str
    images: str
    mean_mm: float | None
    p99_mm: float | None
    max_mm: float | None
    worst_joint: str
    joints_mm: tuple[float | None, ...]
    """The largest distance of each joint over all images."""
    not_run: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class FieldVerdict:
    """One field of the architecture."""

    field: str
    declared: Any
    found: Any
    used: Any
    source: str
    why: str
    agrees: bool


@dataclass(frozen=True)
class File:
    """One artefact of the export."""

    kind: str
    runtime: str
    precision: str
    path: str
    sha256: str
    size_bytes: int
    status: str
    build_s: float | None


@dataclass(frozen=True)
class FirstLook:
    """A row of the first latency table that an export takes."""

    runtime: str
    precision: str
    threads: int
    latency_ms: float
    speed_up: SpeedUp | None
    """None for the reference, and where the interval was too wide."""


@dataclass(frozen=True)
class GateCell:
    """One backend × precision of a comparison."""

    id: str
    outcome: str
    reasons: tuple[str, ...]
    slowdown: SpeedUp | None
    """Candidate over baseline: above 1 is slower."""
    allowed: float


@dataclass(frozen=True)
class Gate:
    """What ``compare`` found."""

    mode: str
    outcome: str
    cells: tuple[GateCell, ...]
    reasons: tuple[str, ...]
    complete: bool


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of the export's files on annotated images."""

    dataset: str
    samples: int
    rows: tuple[tuple[str, Accuracy], ...]
    """(runtime and edition, how far off)."""


@dataclass(frozen=True)
class FleetRun:
    """A fleet's run that has measured files of the export."""

    name: str
    folder: Path
    devices: tuple[str, ...]
    """On which it has, but for the one whose page this is."""


@dataclass(frozen=True)
class Subject:
    """A model, on the machine that it was measured on."""

    folder: str
    """As the user named it."""
    model: str
    weights: str
    """checkpoint, demo or stand-in."""
    weights_path: str | None
    weights_sha256: str
    parameters: int
    macs: int
    joint_names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    verdict: tuple[FieldVerdict, ...]
    files: tuple[File, ...]
    not_made: tuple[tuple[str, str], ...]
    """(what the export could not make, why)."""
    parity: tuple[ParityResult, ...]
    tools: Mapping[str, str]
    first_look: tuple[FirstLook, ...] = ()
    machine: str | None = None
    """Of the first look."""
    bench: Bench | None = None
    evaluations: tuple[Evaluation, ...] = ()
    gate: Gate | None = None
    on_devices: "tuple[Told, ...]" = ()
    """What devices reported about bundles of this export."""
    runs: tuple[FleetRun, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """What was benchmarked."""
        return self.bench.rows if self.bench else ()
