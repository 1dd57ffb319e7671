"""``device-report.json``: the report that a bundle's verifier writes on a device."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from export.common.records import Record, read_record

SCHEMA_VERSION = "1.2"

Status = Literal["pass", "fail", "inconclusive", "not run"]


class ReportedBundle(Record):
    """The verified bundle; ``id`` is the SHA-256 of its manifest."""

    id: str
    model: str
    weights_origin: Literal["checkpoint", "demo", "stand-in"]
    weights_sha256: str
    golden_source: str


class ReportedGpu(Record):
    """The first GPU, as its driver reports it."""

    name: str
    compute_capability: str
    memory_bytes: int
    multiprocessors: int | None = None


class Device(Record):
    """The device; None where a value cannot be read."""

    system: str
    kernel: str
    machine: str
    processor: str | None
    cores: int | None
    usable_cores: int
    memory_bytes: int | None
    board: str | None
    l4t: str | None
    gpu: ReportedGpu | None
    no_gpu: str | None
    """Reason why there is no GPU."""


class PowerMode(Record):
    """Power mode of a Jetson, from ``nvpmodel -q``."""

    name: str
    number: int | None


class CpuClock(Record):
    """Clock limits of cores with equal ones; None where the kernel does not report them."""

    cores: list[int]
    governor: str | None
    min_khz: int | None
    max_khz: int | None


class GpuClock(Record):
    """Limits of one of the clocks of a Jetson's GPU."""

    name: str
    min_hz: int | None
    max_hz: int | None


class Settings(Record):
    """Settings of the device during the measurement."""

    power_mode: PowerMode | None
    no_power_mode: str | None
    """Reason why it is unknown."""
    cpu_clocks: list[CpuClock]
    gpu_clocks: list[GpuClock]
    affinity: list[int] | None
    """Cores that the verifier could use."""
    cpu_limit: float | None
    """Processors that control groups allow; None: all."""


class Protocol(Record):
    """Protocol of the latency measurement."""

    seconds: float
    rounds: int
    iterations: int
    pause_s: float
    seed: int
    boundary: str
    floors: dict[str, int]


class ReportedLimit(Record):
    """Allowed value of a statistic of the errors."""

    statistic: Literal["max", "mean", "p99"]
    allowed_mm: float
    reason: str


class GoldenParity(Record):
    """Errors on the golden images; None where one is not finite."""

    mean_mm: float | None
    p99_mm: float | None
    max_mm: float | None
    images: int
    signal_mm: float | None
    limits: list[ReportedLimit]
    outcome: Literal["pass", "fail", "inconclusive"]
    reason: str


class Latency(Record):
    """Latency of one image, host to host; a percentile with too few samples is None."""

    rounds: int
    samples: int
    p50_ms: float
    p90_ms: float | None
    p99_ms: float | None
    rounds_ms: list[list[float]]
    """All samples, a list for each round: rounds of different rows are paired."""


class Row(Record):
    """One runtime × precision; a skipped row has a reason, and is never counted as passed."""

    runtime: str
    precision: str
    asked: bool = True
    """False: the command line named others."""
    status: Status
    reason: str
    build_log: list[str] | None = None
    """Last lines of a builder that built no engine."""
    describe: str | None
    threads: int | None = None
    """Processor threads, read back from the runtime; None: it runs on the GPU, or not at all."""
    artifact: str | None
    artifact_sha256: str | None
    computes_in: str | None
    """Types of the convolutions, read back from the runtime."""
    parity: GoldenParity | None
    latency: Latency | None


class Overhead(Record):
    """Time that the bundle's Python adds to one runtime's network: crop, normalisation and decode."""

    runtime: str
    precision: str
    network_p50_ms: float
    call_p50_ms: float
    share: float
    """Median over rounds of the ratio, minus one."""
    rounds: int
    samples: int


class DeviceReport(Record):
    """The whole file."""

    schema_version: str
    kind: Literal["device-report"]
    created: str
    bundle: ReportedBundle
    device: Device
    settings: Settings
    versions: dict[str, str]
    protocol: Protocol | None
    """None: latency was not measured."""
    outcome: Status
    missing: list[str] = Field(default=[])
    """Named rows that did not run; the outcome is then ``not run``, unless something failed."""
    results: list[Row]
    overhead: Overhead | None


def read_device_report(path: Path) -> DeviceReport:
    """Read a report of this schema version.

    Raises:
        BadInput: missing, not a device report, or another schema version.
    """
    advice = "give the file that a bundle's verify.py wrote, to the version of this tool that wrote the bundle"
    return read_record(path, DeviceReport, (SCHEMA_VERSION,), "device report", advice)
