"""A job, and a worker's answer: text and bytes, so that Python and libraries may differ between machines."""

import hashlib
import json
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field

from bench.results.record import Record
from export.pipeline.steps import sha256_code

SCHEMA_VERSION = "1.0"
CODE = ("export", "bench")
"""The packages whose code makes a result; two machines must have the same."""

State = Literal["done", "failed", "lost"]
"""``lost``: no worker could carry the job out."""
ResultFile = Literal["manifest.json", "bench/result.json", "bench/samples.npz"]
"""The files of a result; no others are accepted from a worker."""
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A sha256."""


@cache
def code_version() -> str:
    """Return the hash of this project's measuring code, as it was when this process first asked."""
    return code_on_disk()


def code_on_disk() -> str:
    """Return the same hash as it is now: of what a process started now would run."""
    return hashlib.sha256("".join(map(sha256_code, CODE)).encode()).hexdigest()


class BenchOptions(Record):
    """Options of ``convnextpose bench``, under the same names."""

    mode: Literal["quick", "publish"] = "quick"
    threads: int | None = Field(default=None, ge=1, le=1024)
    """Of every backend; None: all cores of the device."""
    budget_s: float | None = Field(default=None, ge=1)
    half_width: float = Field(default=0.01, ge=0.0005, le=0.5)
    deadlines_ms: tuple[float, ...] | None = None
    """None: those of `bench`."""
    seed: int = Field(default=0, ge=0)
    throughput: bool = False
    profile: bool = False
    energy: bool = False
    cuda_graph: bool = True
    reference: Literal["pytorch", "pytorch-cuda"] | None = None


class EngineOptions(Record):
    """Options of the engines that a device builds."""

    batches: tuple[int, int, int] = (1, 1, 8)
    workspace_mib: int = Field(default=1024, ge=1)
    hardware_compatible: bool = False
    version_compatible: bool = False


class JobSpec(Record):
    """One model on one device, with everything that is compared there."""

    schema_version: str = SCHEMA_VERSION
    device: str
    """The kind of device, as the matrix calls it."""
    resource: str
    """The Dask resource of its workers."""
    replica: int = Field(default=1, ge=1)
    """Which of several devices of this kind; replicas never share a device."""
    model: str
    files: dict[str, str]
    """Path within the exported folder → sha256."""
    precisions: tuple[str, ...]
    runtimes: tuple[str, ...] | None
    """None: those of the mode."""
    bench: BenchOptions = BenchOptions()
    engine: EngineOptions = EngineOptions()
    code: str
    """``code_version`` of the client."""
    deadline_s: float = Field(default=3600, ge=1)
    """From the moment at which the device begins with it."""

    @property
    def id(self) -> str:
        """Hash of all that the result depends on, apart from the device."""
        return sha256_json(self.model_dump(mode="json", exclude={"deadline_s"}))

    @property
    def place(self) -> str:
        """``orin`` or, where there are several, ``orin-2``: the device's part of paths."""
        return self.device if self.replica == 1 else f"{self.device}-{self.replica}"

    @property
    def name(self) -> str:
        """``orin/S``: for people, and the folder of the result within the run."""
        return f"{self.place}/{self.model}"


class DeviceFacts(Record):
    """What a device says of itself."""

    worker: str
    """The worker's name, or ``here``."""
    machine: str
    """Hash that tells machines apart."""
    resources: dict[str, float]
    code: str
    environment: dict[str, Any]
    """See ``bench.machine.environment``."""
    fingerprint: str
    doctor: dict[str, Any]
    holding: tuple[str, ...] = ()
    """Those of the jobs asked about whose results are on the device, or are being made there."""


class Outcome(Record):
    """The end of one job, and the device that it ended on."""

    schema_version: str = SCHEMA_VERSION
    job: str
    """The specification's id."""
    state: State
    reason: str = ""
    worker: str = ""
    machine: str = ""
    code: str = ""
    fingerprint: str = ""
    started: str = ""
    seconds: float = Field(default=0.0, ge=0)
    found: bool = False
    """True if the device had the result already and did not measure again."""
    bytes_sent: int = 0
    """To the device, for this job: what it did not have yet."""
    engines: tuple[str, ...] = ()
    """What the device built, or why it did not."""
    troubles: tuple[str, ...] = ()
    """Earlier attempts: the worker and what happened."""
    files: dict[ResultFile, Digest] = Field(default_factory=dict)
    """Path within the result's folder → sha256."""


class Answer(Record):
    """A device's answer to a job: its outcome, and the files of its result."""

    outcome: Outcome
    files: dict[ResultFile, bytes] = Field(default_factory=dict)


def sha256_json(value: Any) -> str:
    """Return the hash of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
