"""Which devices there are, who of them works, and who is to be given no more work: without a network in it."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from bench.fleet.record import DeviceRecord, DeviceState
from bench.fleet.spec import DeviceFacts, JobSpec, code_version

BENCH_AFTER = 3
"""Failures in a row: then it is the device and not the jobs."""


class NoDevice(Exception):
    """Nobody can do the job; the text says who could not, and why."""


@dataclass
class Seat:
    """One device."""

    address: str
    facts: DeviceFacts
    busy: bool = False
    here: bool = True
    in_a_row: int = 0
    """Failures since it has done a job."""
    last_failure: str = ""

    @property
    def state(self) -> DeviceState:
        """Whether it may be given work; if not, ``reason`` says why."""
        if self.facts.code != code_version():
            return "refused"
        if self.in_a_row >= BENCH_AFTER:
            return "benched"
        return "ready" if self.here else "gone"

    @property
    def reason(self) -> str:
        """Why it may not."""
        return {
            "refused": "it has another version of this project: install the same commit there",
            "benched": f"it failed {self.in_a_row} jobs in a row; the last: {self.last_failure}",
            "gone": "its worker is not connected",
            "ready": "",
        }[self.state]


class Roster:
    """Safe to be used by several threads.

    Args:
        kinds: name of a kind → the resource that its workers have.
        wait_s: how long a job waits for a device that may do it to turn up; for one that is only busy it waits.
        clock: seconds.
    """

    def __init__(self, kinds: Mapping[str, str], wait_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._kinds, self._wait_s, self._clock = kinds, wait_s, clock
        self._seats: dict[str, Seat] = {}
        self._taken: dict[tuple[str, str], dict[int, str]] = {}
        self._strange: dict[str, str] = {}
        """Address of a worker that does not answer as ours do → its name and the reason."""
        self._closed = False
        self._changed = threading.Condition()

    def seen(self, address: str, facts: DeviceFacts) -> None:
        """A worker is there, for the first time or again, perhaps at another address."""
        with self._changed:
            before = self._seats.get(facts.worker)
            if before is None:
                self._seats[facts.worker] = Seat(address, facts)
            else:
                before.address, before.facts, before.here = address, facts, True
            self._changed.notify_all()

    def strange(self, address: str, worker: str, reason: str) -> None:
        """A worker is there that cannot be asked what it is: it is not asked again."""
        with self._changed:
            self._strange[address] = f"{worker}: {reason}"

    def only(self, addresses: Collection[str]) -> set[str]:
        """Workers at all other addresses are gone; returns addresses of which nothing is known."""
        with self._changed:
            for seat in self._seats.values():
                seat.here = seat.address in addresses
            self._changed.notify_all()
            return set(addresses) - {seat.address for seat in self._seats.values()} - self._strange.keys()

    def has(self, address: str) -> bool:
        """Whether a worker at this address is there."""
        with self._changed:
            return any(seat.here and seat.address == address for seat in self._seats.values())

    def take(self, spec: JobSpec, avoid: Collection[str] = ()) -> tuple[str, str]:
        """Wait for a device that may do ``spec``, and keep it busy; returns its worker's name and address.

        A device that has the job's result, or is at it for an earlier asker, is preferred, and waited for.

        Raises:
            NoDevice: none turned up in time, or those that are there may not.
        """
        with self._changed:
            since = self._clock()
            while not self._closed:
                able = [worker for worker in self._able(spec) if worker not in avoid]
                holding = [worker for worker in able if spec.id in self._seats[worker].facts.holding]
                for worker in holding or able:
                    if not self._seats[worker].busy:
                        self._seats[worker].busy = True
                        self._taken.setdefault((spec.device, spec.model), {})[spec.replica] = worker
                        return worker, self._seats[worker].address
                if able:
                    since = self._clock()
                elif self._clock() - since >= self._wait_s or self._in_vain(spec, avoid):
                    break
                self._changed.wait(min(1.0, self._wait_s))
        raise NoDevice(self._why_not(spec, avoid))

    def give_back(self, worker: str, failure: str | None) -> None:
        """It has done its job (``failure`` None), failed at it, or (an empty one) was lost with it."""
        with self._changed:
            seat = self._seats[worker]
            seat.busy = False
            if failure is None:
                seat.in_a_row = 0
            elif failure:
                seat.in_a_row, seat.last_failure = seat.in_a_row + 1, failure
            self._changed.notify_all()

    def reserve(self, spec: JobSpec, worker: str) -> None:
        """``worker`` has done this job at an earlier time: its other replicas need other devices."""
        with self._changed:
            self._taken.setdefault((spec.device, spec.model), {})[spec.replica] = worker

    def another(self, spec: JobSpec, avoid: Collection[str]) -> bool:
        """Whether there is a device that may do it beside those."""
        with self._changed:
            return any(worker not in avoid for worker in self._able(spec))

    def close(self) -> None:
        """Nobody is to wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def records(self) -> list[DeviceRecord]:
        """All that were ever seen."""
        with self._changed:
            return [
                DeviceRecord(
                    worker=worker,
                    kinds=[kind for kind, resource in self._kinds.items() if _has(seat, resource)],
                    state=seat.state,
                    reason=seat.reason,
                    machine=seat.facts.machine,
                    environment=seat.facts.environment,
                    fingerprint=seat.facts.fingerprint,
                )
                for worker, seat in sorted(self._seats.items())
            ]

    def _of_kind(self, spec: JobSpec) -> dict[str, Seat]:
        return {w: s for w, s in sorted(self._seats.items()) if _has(s, spec.resource)}

    def _able(self, spec: JobSpec) -> list[str]:
        """Those that may do it, busy or not."""
        replicas = self._taken.get((spec.device, spec.model), {})
        others = {worker for replica, worker in replicas.items() if replica != spec.replica}
        return [w for w, seat in self._of_kind(spec).items() if seat.state == "ready" and w not in others]

    def _in_vain(self, spec: JobSpec, avoid: Collection[str]) -> bool:
        """Whether those of its kind that are connected may all not do it, so that waiting changes nothing."""
        connected = [(w, seat) for w, seat in self._of_kind(spec).items() if seat.here]
        return bool(connected) and all(s.state in ("refused", "benched") or w in avoid for w, s in connected)

    def _why_not(self, spec: JobSpec, avoid: Collection[str]) -> str:
        if self._closed:
            return "the run was ended"
        said = list(self._strange.values())
        for worker, seat in self._of_kind(spec).items():
            reason = seat.reason or ("it was tried" if worker in avoid else "it measures another replica of this job")
            said.append(f"{worker}: {reason}")
        return "; ".join(said) or f"no worker has the resource {spec.resource}"


def _has(seat: Seat, resource: str) -> bool:
    return seat.facts.resources.get(resource, 0) >= 1
