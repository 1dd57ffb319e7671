"""Who carries jobs out. ``LocalExecutor`` does it here; ``bench.fleet.dask_executor`` has it done by others."""

from collections.abc import Callable, Sequence
from typing import Protocol

from bench.fleet import device
from bench.fleet.blobs import BlobCache
from bench.fleet.delivery import Told, deliver
from bench.fleet.record import DeviceRecord
from bench.fleet.spec import DeviceFacts, JobResult, JobSpec

HERE = "here"

OnWork = Callable[[JobSpec, str, str], None]
"""Called with the job, the device that has it, and what that is doing."""


class Executor(Protocol):
    """Carries out one job after the other, or several at a time."""

    at_once: int
    """How many calls of ``run`` may be waiting for each other."""

    def run(self, spec: JobSpec) -> JobResult:
        """Have it done by some device of its kind. Nothing that a device does wrong is raised."""

    def devices(self) -> Sequence[DeviceRecord]:
        """Those that were seen until now."""

    def reserve(self, spec: JobSpec, worker: str) -> None:
        """This job was done by that device, so its other replicas need others."""

    def close(self) -> None:
        """Let go; what devices have begun they finish, and keep."""


class LocalExecutor:
    """This machine stands in for every kind of device. Nothing of Dask is imported, or needed."""

    at_once = 1

    def __init__(self, specs: Sequence[JobSpec], sources: BlobCache, on_work: OnWork, *, again: bool = False) -> None:
        self._sources, self._on_work, self._again = sources, on_work, again
        self._kinds = list(dict.fromkeys(spec.device for spec in specs))
        self._facts = DeviceFacts.model_validate_json(device.hello([]))

    def run(self, spec: JobSpec) -> JobResult:
        """See ``Executor``."""
        self._on_work(spec, HERE, "")
        return deliver(ThisMachine(), spec, self._sources, self._again, lambda text: self._on_work(spec, HERE, text))

    def devices(self) -> Sequence[DeviceRecord]:
        """This machine."""
        return [
            DeviceRecord(
                worker=HERE,
                kinds=self._kinds,
                state="ready",
                machine=self._facts.machine,
                environment=self._facts.environment,
                fingerprint=self._facts.fingerprint,
            )
        ]

    def reserve(self, spec: JobSpec, worker: str) -> None:
        """This machine stands in for every device, so for several of them, too."""

    def close(self) -> None:
        """Nothing is held."""


class ThisMachine:
    """The shortest way to a device; see ``bench.fleet.delivery.Link``."""

    worker = HERE

    def lacking(self, digests: list[str]) -> list[str]:
        """See ``Link``."""
        return device.lacking(digests)

    def store(self, digest: str, content: bytes) -> bool:
        """See ``Link``."""
        return device.store(digest, content)

    def run_job(self, spec: JobSpec, again: bool, told: Told) -> str:
        """See ``Link``."""
        return device.run_job(spec.model_dump_json(), again, told)

    def fetch(self, digest: str) -> bytes:
        """See ``Link``."""
        return device.fetch(digest)
