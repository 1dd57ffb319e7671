"""Which devices there are, who of them works, and who is to be given no more work: without a network in it."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from bench.fleet.blame import Blame
from bench.fleet.record import DeviceRecord, DeviceState
from bench.fleet.spec import DeviceFacts, JobSpec, code_version


class NoDevice(Exception):
    """Nobody can do the job; the text says who could not, and why."""


@dataclass(frozen=True)
class Known:
    """What the scheduler knows of a worker."""

    worker: str
    """Its name."""
    resources: Mapping[str, float]


@dataclass
class Seat:
    """One device."""

    address: str
    resources: Mapping[str, float]
    facts: DeviceFacts | None = None
    """What it says of itself; None until it has."""
    strange: str = ""
    """Why it is none of ours."""
    silence: str = ""
    """How it does not answer; it may do so again."""
    busy: bool = False
    here: bool = True

    @property
    def refusal(self) -> str:
        """Why it is given nothing, whatever else it does."""
        if self.facts is not None and self.facts.code != code_version():
            return "it has another version of this project: install the same commit there, and restart its worker"
        return self.strange


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
        self._connected = frozenset[str]()
        """Addresses; what is heard late of another may be of a worker whose name a new one has."""
        self._blame = Blame()
        self._closed = False
        self._changed = threading.Condition()

    def seen(self, address: str, facts: DeviceFacts) -> None:
        """A worker has said what it is, for the first time or again, perhaps at another address."""
        with self._changed:
            seat = self._seat(address, Known(facts.worker, facts.resources))
            seat.facts, seat.strange, seat.silence = facts, "", ""
            self._changed.notify_all()

    def strange(self, address: str, known: Known, reason: str) -> None:
        """A worker answers, and not as ours do: it is not asked again."""
        with self._changed:
            if address in self._connected:
                self._seat(address, known).strange = reason

    def silent(self, address: str, known: Known, reason: str) -> None:
        """A worker is connected and does not answer: it is given nothing until it does."""
        with self._changed:
            if address in self._connected:
                self._seat(address, known).silence = reason

    def unanswered(self, address: str, reason: str) -> None:
        """The same of a worker that has a job."""
        with self._changed:
            for seat in self._seats.values():
                if seat.address == address:
                    seat.silence = reason

    def only(self, addresses: Collection[str]) -> set[str]:
        """Workers at all other addresses are gone; returns those that are to be asked what they are."""
        with self._changed:
            self._connected = frozenset(addresses)
            for seat in self._seats.values():
                seat.here = seat.address in addresses
            self._changed.notify_all()
            heard = {s.address for s in self._seats.values() if s.strange or (s.facts is not None and not s.silence)}
            return set(addresses) - heard

    def trouble(self, address: str) -> str:
        """Why no answer is to be expected from the worker at this address; empty if one is."""
        with self._changed:
            seat = next((seat for seat in self._seats.values() if seat.address == address and seat.here), None)
            return "its worker is gone" if seat is None else seat.silence

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
                holding = [worker for worker in able if self._holds(worker, spec)]
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

    def give_back(self, worker: str) -> None:
        """It is free again, whatever has become of its job."""
        with self._changed:
            self._seats[worker].busy = False
            self._changed.notify_all()

    def did(self, spec: JobSpec, worker: str) -> None:
        """``worker`` has done this job, now or at an earlier time: its other replicas need other devices."""
        with self._changed:
            self._taken.setdefault((spec.device, spec.model), {})[spec.replica] = worker
            self._blame.did(worker, spec)
            self._changed.notify_all()

    def failed(self, spec: JobSpec, worker: str, reason: str) -> None:
        """``worker`` has failed at this job, which may be its fault."""
        with self._changed:
            self._blame.failed(worker, spec, reason)
            self._changed.notify_all()

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
        """All that were ever seen, also those that have not said what they are."""
        with self._changed:
            return [self._record(worker, seat) for worker, seat in sorted(self._seats.items())]

    def _record(self, worker: str, seat: Seat) -> DeviceRecord:
        state, reason = self._state(worker, seat)
        return DeviceRecord(
            worker=worker,
            kinds=[kind for kind, resource in self._kinds.items() if _has(seat, resource)],
            state=state,
            reason=reason,
            machine="" if seat.facts is None else seat.facts.machine,
            environment={} if seat.facts is None else seat.facts.environment,
            fingerprint="" if seat.facts is None else seat.facts.fingerprint,
        )

    def _seat(self, address: str, known: Known) -> Seat:
        """The device's, which a worker that was started anew takes again."""
        seat = self._seats.setdefault(known.worker, Seat(address, known.resources))
        if seat.address != address:
            self._blame.anew(known.worker)
            seat.facts, seat.strange, seat.silence = None, "", ""
        seat.address, seat.resources, seat.here = address, known.resources, True
        return seat

    def _state(self, worker: str, seat: Seat) -> tuple[DeviceState, str]:
        """Whether it may be given work; if not, why."""
        if seat.refusal:
            return "refused", seat.refusal
        if against := self._blame.against(worker):
            return "benched", against
        if not seat.here:
            return "gone", "its worker is not connected"
        if seat.silence or seat.facts is None:
            return "silent", seat.silence or "it has not said yet what it is"
        return "ready", ""

    def _holds(self, worker: str, spec: JobSpec) -> bool:
        facts = self._seats[worker].facts
        return facts is not None and spec.id in facts.holding

    def _of_kind(self, spec: JobSpec) -> dict[str, Seat]:
        return {w: s for w, s in sorted(self._seats.items()) if _has(s, spec.resource)}

    def _able(self, spec: JobSpec) -> list[str]:
        """Those that may do it, busy or not."""
        replicas = self._taken.get((spec.device, spec.model), {})
        others = {worker for replica, worker in replicas.items() if replica != spec.replica}
        able = [w for w, seat in self._of_kind(spec).items() if self._state(w, seat)[0] == "ready"]
        return [worker for worker in able if worker not in others]

    def _in_vain(self, spec: JobSpec, avoid: Collection[str]) -> bool:
        """Whether those of its kind that are connected may all not do it, so that waiting changes nothing."""
        connected = [(w, self._state(w, seat)[0]) for w, seat in self._of_kind(spec).items() if seat.here]
        return bool(connected) and all(state in ("refused", "benched") or w in avoid for w, state in connected)

    def _why_not(self, spec: JobSpec, avoid: Collection[str]) -> str:
        if self._closed:
            return "the run was ended"
        said = list[str]()
        for worker, seat in self._of_kind(spec).items():
            _, reason = self._state(worker, seat)
            reason = reason or ("it was tried" if worker in avoid else "it measures another replica of this job")
            said.append(f"{worker}: {reason}")
        return "; ".join(said) or self._nobody(spec)

    def _nobody(self, spec: JobSpec) -> str:
        """That no worker has it, and what those that are there have: it may be a slip of the pen."""
        here = [(worker, seat) for worker, seat in sorted(self._seats.items()) if seat.here]
        have = [f"{worker} has {', '.join(seat.resources) or 'none'}" for worker, seat in here]
        return f"no worker has the resource {spec.resource} ({'; '.join(have) or 'no worker is connected'})"


def _has(seat: Seat, resource: str) -> bool:
    return seat.resources.get(resource, 0) >= 1
