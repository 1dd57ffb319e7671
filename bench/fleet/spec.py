"""A job, and a device's answer: text and bytes, so that Python and libraries may differ between machines."""

import hashlib
import json
from functools import cache
from typing import Any, Literal

from pydantic import Field

from bench.harness.options import BenchOptions
from bench.results.record import Record
from export.pipeline.steps import sha256_code

SCHEMA_VERSION = "2.0"
CODE = ("export", "bench")
"""The packages that produce a result; all machines must have the same code."""

State = Literal["done", "failed", "lost"]
"""``lost``: no worker could do the job."""
ResultFile = Literal["manifest.json", "bench/result.json", "bench/samples.npz"]
"""The files of a result, within its folder."""


@cache
def code_version() -> str:
    """Return the hash of this project's measuring code, as it was when this process first asked."""
    return code_on_disk()


def code_on_disk() -> str:
    """Return the hash of the code that a process started now would run."""
    return hashlib.sha256("".join(map(sha256_code, CODE)).encode()).hexdigest()


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
    """The kind of device, as the matrix names it."""
    resource: str
    """The Dask resource of its workers."""
    replica: int = Field(default=1, ge=1)
    """Number among several devices of this kind; replicas never share a device."""
    model: str
    files: dict[str, str]
    """Path within the exported folder → sha256."""
    precisions: tuple[str, ...]
    runtimes: tuple[str, ...] | None
    """None: the defaults of the mode."""
    bench: BenchOptions = BenchOptions()
    engine: EngineOptions = EngineOptions()
    code: str
    """``code_version`` of the client."""
    deadline_s: float = Field(default=3600, ge=1)
    """Counted from the moment at which the device begins."""

    @property
    def id(self) -> str:
        """Hash of everything that the result depends on, apart from the device."""
        return sha256_json(self.model_dump(mode="json", exclude={"deadline_s"}))

    @property
    def place(self) -> str:
        """The device's part of paths: ``orin`` or, for the second of several, ``orin-2``."""
        return self.device if self.replica == 1 else f"{self.device}-{self.replica}"

    @property
    def name(self) -> str:
        """Name for people, and folder of the result within the run: ``orin/S``."""
        return f"{self.place}/{self.model}"


class DeviceFacts(Record):
    """A device's description of itself."""

    machine: str
    """Hash that distinguishes machines."""
    code: str
    fingerprint: str
    holding: tuple[str, ...] = ()
    """The given job ids with a result on the device, finished or in progress."""


class Outcome(Record):
    """The end of one job, and the device that it ended on."""

    schema_version: str = SCHEMA_VERSION
    job: str
    """The specification's id."""
    state: State
    reason: str = ""
    worker: str = ""
    fingerprint: str = ""
    seconds: float = Field(default=0.0, ge=0)
    found: bool = False
    """True if the device already had the result and did not measure again."""
    bytes_sent: int = 0
    """To the device, for this job."""
    engines: tuple[str, ...] = ()
    """A line for each engine: built, or why not."""
    troubles: tuple[str, ...] = ()
    """Earlier attempts: the worker, and why it did not finish."""
    files: dict[ResultFile, str] = Field(default_factory=dict)
    """File of the result → sha256."""


class Answer(Record):
    """A device's answer to a job: its outcome, and the files of its result."""

    outcome: Outcome
    files: dict[ResultFile, bytes] = Field(default_factory=dict)

    @classmethod
    def failed(cls, spec: JobSpec, reason: str, state: State = "failed") -> "Answer":
        """Return the answer to a job without a result."""
        return cls(outcome=Outcome(job=spec.id, state=state, reason=reason))


def sha256_json(value: Any) -> str:
    """Return the hash of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
