"""``device-report.json``: what a bundle's verifier found on a device, read back at home."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from export.common.records import read_record

SCHEMA_VERSION = "1.2"
READABLE = ("1.0", "1.1", SCHEMA_VERSION)
"""1.0 had neither rows that nobody asked for, nor builders' logs, nor a GPU's multiprocessors. Up to 1.1 nothing
was said of threads, nor of settings but one core's governor, which was told of the device."""
KIND = "device-report"

Status = Literal["pass", "fail", "inconclusive", "not run"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReportedBundle(_Record):
    """Which bundle was verified; ``id`` is the SHA-256 of its manifest."""

    id: str
    model: str
    weights_origin: Literal["checkpoint", "demo", "stand-in"]
    weights_sha256: str
    golden_source: str


class ReportedGpu(_Record):
    """The first GPU, by the account of its driver."""

    name: str
    compute_capability: str
    memory_bytes: int
    multiprocessors: int | None = None


class Device(_Record):
    """The device; None where it does not tell."""

    system: str
    kernel: str
    machine: str
    processor: str | None
    cores: int | None
    usable_cores: int
    memory_bytes: int | None
    governor: str | None = None
    """Of the first core; since 1.2 among the settings."""
    board: str | None
    l4t: str | None
    gpu: ReportedGpu | None
    no_gpu: str | None
    """Why there is no GPU."""


class PowerMode(_Record):
    """A Jetson's, as ``nvpmodel -q`` tells it."""

    name: str
    number: int | None


class CpuClock(_Record):
    """The bounds of the clock of cores that have them alike; None where the kernel does not tell."""

    cores: list[int]
    governor: str | None
    min_khz: int | None
    max_khz: int | None


class GpuClock(_Record):
    """The bounds of one of the clocks of a Jetson's GPU."""

    name: str
    min_hz: int | None
    max_hz: int | None


class Settings(_Record):
    """How the device was set when it measured."""

    power_mode: PowerMode | None
    no_power_mode: str | None
    """Why it is not known."""
    cpu_clocks: list[CpuClock]
    gpu_clocks: list[GpuClock]
    affinity: list[int] | None
    """The cores that the verifier could use."""
    cpu_limit: float | None
    """Processors' worth of time that control groups left to it; None: all."""


class Protocol(_Record):
    """How latency was measured."""

    seconds: float
    rounds: int
    iterations: int
    pause_s: float
    seed: int
    boundary: str
    floors: dict[str, int]


class ReportedLimit(_Record):
    """What a statistic of the distances was allowed to be."""

    statistic: Literal["max", "mean", "p99"]
    allowed_mm: float
    reason: str


class GoldenParity(_Record):
    """Distances from the reference on the goldens; None where one is not finite."""

    mean_mm: float | None
    p99_mm: float | None
    max_mm: float | None
    images: int
    signal_mm: float | None
    limits: list[ReportedLimit]
    outcome: Literal["pass", "fail", "inconclusive"]
    reason: str


class Latency(_Record):
    """One image, host to host; a percentile without samples enough is None."""

    rounds: int
    samples: int
    p50_ms: float
    p90_ms: float | None
    p99_ms: float | None
    rounds_ms: list[list[float]]
    """Every sample, a list a round: rounds of different rows are paired."""


class Row(_Record):
    """One runtime with one precision; what could not run says why, and is never counted as passed."""

    runtime: str
    precision: str
    asked: bool = True
    """False: the command line named others."""
    status: Status
    reason: str
    build_log: list[str] | None = None
    """The last lines of a builder that built no engine."""
    describe: str | None
    threads: int | None = None
    """Of the processor, read back from the runtime; None: it runs on the GPU, or not at all."""
    artifact: str | None
    artifact_sha256: str | None
    computes_in: str | None
    """The types of the convolutions, read back from the runtime."""
    parity: GoldenParity | None
    latency: Latency | None


class Overhead(_Record):
    """What the bundle's Python adds to one runtime's network: crop, normalisation and the way back."""

    runtime: str
    precision: str
    network_p50_ms: float
    call_p50_ms: float
    share: float
    """Median over rounds of the ratio, minus one."""
    rounds: int
    samples: int


class DeviceReport(_Record):
    """The whole file."""

    schema_version: str
    kind: Literal["device-report"]
    created: str
    bundle: ReportedBundle
    device: Device
    settings: Settings | None = None
    versions: dict[str, str]
    protocol: Protocol | None
    """None: latency was left out."""
    outcome: Status
    missing: list[str] = []
    """What was asked for by name and did not run; then the outcome is ``not run``, unless something failed."""
    results: list[Row]
    overhead: Overhead | None


def read_device_report(path: Path) -> DeviceReport:
    """Read a report of this schema version, or of an earlier one.

    Raises:
        BadInput: missing, not a report of a device, or of another schema version.
    """
    do = "give what a bundle's verify.py wrote, to the version of this tool that wrote the bundle"
    return read_record(path, DeviceReport, READABLE, "report of a device", do)
