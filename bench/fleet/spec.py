"""What is asked of a device, and what it answers. Both travel as JSON; files travel by their sha256."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field

from bench.record import Record
from export.steps import sha256_code

SCHEMA_VERSION = "1.0"
CODE = ("export", "bench")
"""The packages whose code makes a result; two machines have to have the same."""

State = Literal["done", "failed", "lost"]
"""``lost``: no device could carry it out."""


ResultFile = Literal["manifest.json", "bench/result.json", "bench/samples.npz"]
"""What a result consists of: a device's word is not to decide where the client writes, or how much."""
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A sha256."""


def phase(said: str) -> str:
    """What a device does, of what it says: without the numbers, and what follows a comma, which tell how far it is."""
    return re.sub(r"\d+", "", said.split(",")[0])


@cache
def code_version() -> str:
    """Hash of this project's code that measures, as it was when this process first asked."""
    return code_on_disk()


def code_on_disk() -> str:
    """The same, as it is now: what a process that is started now would run."""
    return hashlib.sha256("".join(map(sha256_code, CODE)).encode()).hexdigest()


class BenchOptions(Record):
    """What ``convnextpose bench`` may be told, under the same names as far as it has them."""

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
    """What is asked of the engines that a device builds."""

    batches: tuple[int, int, int] = (1, 1, 8)
    workspace_mib: int = Field(default=1024, ge=1)
    hardware_compatible: bool = False
    version_compatible: bool = False


class JobSpec(Record):
    """One comparison set on one device."""

    schema_version: str = SCHEMA_VERSION
    device: str
    """The kind of device, as the matrix calls it."""
    resource: str
    """What a worker of this kind has."""
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
    """``code_version`` of who asks."""
    deadline_s: float = Field(default=3600, ge=1)
    """From the moment at which the device begins with it."""

    @property
    def id(self) -> str:
        """Hash of all that the result depends on, as far as it is known without the device."""
        return sha256_json(self.model_dump(mode="json", exclude={"deadline_s"}))

    @property
    def place(self) -> str:
        """``orin`` or, where there are several, ``orin-2``: the device's part of paths."""
        return self.device if self.replica == 1 else f"{self.device}-{self.replica}"

    @property
    def name(self) -> str:
        """For people: ``orin/S``."""
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
    """See ``bench.environment``."""
    fingerprint: str
    doctor: dict[str, Any]
    holding: tuple[str, ...] = ()
    """Those of the jobs that were asked about whose results lie on the device, or will when it has done with them."""


class Outcome(Record):
    """What became of one job, and on which device."""

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
    seconds: float = Field(default=0.0, ge=0, le=1e9)
    found: bool = False
    """Whether the device had the result from an earlier time, and did not measure again."""
    bytes_sent: int = 0
    """To the device, for this job: what it did not have yet."""
    engines: tuple[str, ...] = ()
    """What the device built, or why it did not."""
    troubles: tuple[str, ...] = ()
    """Devices that were lost with it, or failed at it, before; and how."""
    files: dict[ResultFile, Digest] = Field(default_factory=dict)
    """Path within the result's folder → sha256."""


@dataclass(frozen=True)
class JobResult:
    """An outcome with its files' content."""

    outcome: Outcome
    blobs: Mapping[Digest, bytes]
    """sha256 → content."""
    ours: bool = False
    """Whether it failed on the machine that asks: then no device is to blame, and none other need try."""


def sha256_json(value: Any) -> str:
    """Hash of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
