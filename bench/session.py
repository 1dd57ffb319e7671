"""One benchmark: workers are started, judged, warmed up, timed in rounds, and ended whatever happens."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.energy import EnergyPlan, measure_energy
from bench.energy_meters import Meter, NoMeter, find_meter
from bench.remote import Remote, WorkerLost
from bench.rounds import Decide, Measured, Plan, run_rounds
from bench.steadiness import WarmUpRule
from bench.stopping import StopRule
from bench.worker import Job, Loaded, Samples, WarmUp
from export.progress import Progress, silent

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

JudgeJoints = Callable[[str, Any], Mapping[str, Any]]
"""(contender's name, (N, J, 3) joints) → parity as plain data, with ``outcome`` and ``reason``."""


@dataclass(frozen=True)
class Timeouts:
    """How long an answer is waited for before the worker is taken for hanging."""

    load_s: float = 120.0
    compile_s: float = 600.0
    answer_s: float = 60.0
    """Beside what the work itself should take."""


@dataclass(frozen=True)
class Entrant:
    """One contender: what its worker runs."""

    name: str
    job: Job
    precision: str
    compiles: bool = False


@dataclass(frozen=True)
class Settings:
    """How a benchmark is run."""

    threads: int
    rule: StopRule
    warm_up: WarmUpRule
    parity_images: int = 8
    seed: int = 0
    cold_starts: int = 1
    """Fresh processes; the worker that is timed is the first."""
    throughput_s: float = 0.0
    """For each point of the sweep; 0 leaves throughput out."""
    energy: EnergyPlan | None = None
    find_meter: Callable[[bool], Meter] = lambda gpu: find_meter(gpu=gpu)
    """For a GPU's rows, or for a processor's."""
    decide: Decide | None = None
    """Decides in place of the rule when enough was measured."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    environment: Mapping[str, str] = field(default_factory=dict)
    """For the workers, beside the thread counts."""


@dataclass
class Entry:
    """What became of one contender, rounds apart."""

    loaded: Loaded | None = None
    parity: Mapping[str, Any] | None = None
    warm_up: WarmUp | None = None
    memory_mib: Mapping[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    not_possible: str | None = None
    overhead_ns: float | None = None
    cold: list[Loaded] = field(default_factory=list)
    """The other fresh processes."""
    throughput: list[Mapping[str, float]] | None = None
    throughput_fault: str | None = None
    energy: Mapping[str, Any] | None = None
    energy_reason: str | None = None
    """Why there is none."""


@dataclass
class Session:
    """What a benchmark has seen."""

    entries: dict[str, Entry]
    measured: Measured
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether it was not interrupted."""
        return not self.interrupted and not self.measured.interrupted


class _Visitor:
    """A worker that runs while it is visited, and at no other time."""

    def __init__(self, remote: Remote, latency_ms: float, timeouts: Timeouts) -> None:
        self._remote, self._latency_s, self._timeouts = remote, latency_ms / 1e3, timeouts

    def visit(self, iterations: int) -> Samples:
        """See ``bench.rounds.Contender``."""
        with _awake(self._remote):
            expected = 20 * self._latency_s * (iterations + 4)
            taken: Samples = self._remote.call("visit", iterations, timeout_s=self._timeouts.answer_s + expected)
        return taken


def hold_session(
    entrants: Sequence[Entrant],
    reference: str,
    inputs: NDArray[np.uint8],
    judge: JudgeJoints,
    settings: Settings,
    *,
    sensors: Callable[[], Mapping[str, Any]] = dict,
    progress: Progress = silent,
) -> Session:
    """Measure all entrants side by side.

    Args:
        entrants: with the reference and its control, each under a name of its own.
        reference: the name of the one that all others are compared with.
        inputs: (N, S, S, 3) RGB pixels, shown in turn.
        judge: decides from each entrant's joints whether it may be timed.
        settings: how.
        sensors: read between rounds.
        progress: is told what is being done.

    Returns:
        What was seen; after Ctrl-C what had been seen by then. No worker is left.
    """
    session = Session({entrant.name: Entry() for entrant in entrants}, Measured({e.name: [] for e in entrants}))
    remotes: dict[str, Remote] = {}
    with tempfile.TemporaryDirectory(prefix="convnextpose-bench-") as folder:
        try:
            paths = Path(folder)
            for entrant in entrants:
                progress(f"loading {entrant.name}")
                _load(entrant, session.entries[entrant.name], remotes, paths, inputs, judge, settings)
            for name in list(remotes):
                progress(f"warming up {name}")
                _warm_up(name, session.entries[name], remotes, settings)
            latencies = {name: _latency_ms(session.entries[name]) for name in remotes}
            if reference in remotes:
                visitors = {n: _Visitor(r, latencies[n], settings.timeouts) for n, r in remotes.items()}
                plan = Plan(reference, settings.rule, settings.seed, decide=settings.decide)
                seen = run_rounds(visitors, latencies, plan, clock=time.monotonic, sensors=sensors, progress=progress)
                seen.visits = session.measured.visits | seen.visits
                session.measured = seen
            for name, reason in session.measured.lost.items():
                session.entries[name].faults.append(reason)
                remotes.pop(name).end()
            for name, remote in remotes.items():
                _finish(session.entries[name], remote, settings)
            for name, remote in remotes.items():
                progress(f"throughput of {name}")
                _throughput(session.entries[name], remote, settings)
            for entrant in entrants if settings.energy else ():
                if entrant.name in remotes:
                    progress(f"energy of {entrant.name}")
                    _energy(entrant, session.entries[entrant.name], remotes[entrant.name], settings)
            for entrant in entrants if settings.cold_starts > 1 else ():
                progress(f"starting {entrant.name} afresh")
                _start_afresh(entrant, session.entries[entrant.name], paths, settings)
        except KeyboardInterrupt:
            session.interrupted = True
        finally:
            for remote in remotes.values():
                remote.end()
    return session


def worker_environment(settings: Settings) -> dict[str, str]:
    """What fixes the thread counts of libraries that read them when they are loaded."""
    return {name: str(settings.threads) for name in THREAD_VARIABLES} | dict(settings.environment)


def _load(
    entrant: Entrant,
    entry: Entry,
    remotes: dict[str, Remote],
    folder: Path,
    inputs: NDArray[np.uint8],
    judge: JudgeJoints,
    settings: Settings,
) -> None:
    """Start the worker, have it load and judge it; a worker that may not be timed is ended."""
    remote = Remote(entrant.job, worker_environment(settings), folder / f"{len(remotes)}-{os.urandom(4).hex()}.log")
    remotes[entrant.name] = remote
    limit = settings.timeouts.compile_s if entrant.compiles else settings.timeouts.load_s
    try:
        entry.loaded = remote.call("load", timeout_s=limit)
        entry.faults += entry.loaded.facts.get("problems", [])
        count = min(len(inputs), settings.parity_images)
        expected = 20 * count * entry.loaded.first_ms / 1e3
        joints = remote.call("joints", count, timeout_s=settings.timeouts.answer_s + expected)
        entry.parity = judge(entrant.name, joints)
        if entry.parity["outcome"] != "pass":
            entry.faults.append(f"parity {entry.parity['outcome']}: {entry.parity['reason']}")
        entry.overhead_ns = remote.call("overhead_ns", timeout_s=settings.timeouts.answer_s)
    except WorkerLost as loss:
        if loss.possible:
            entry.faults.append(str(loss))
        else:
            entry.not_possible = str(loss)
    if entry.faults or entry.not_possible:
        remotes.pop(entrant.name).end()
    else:
        remote.quiet()


def _warm_up(name: str, entry: Entry, remotes: dict[str, Remote], settings: Settings) -> None:
    rule = settings.warm_up
    try:
        with _awake(remotes[name]):
            limit = settings.timeouts.answer_s + 10 * rule.cap_s
            entry.warm_up = remotes[name].call("warm_up", rule, timeout_s=limit)
    except WorkerLost as loss:
        entry.faults.append(f"while warming up: {loss}")
        remotes.pop(name).end()


def _finish(entry: Entry, remote: Remote, settings: Settings) -> None:
    """Ask once more what it is: it may have recompiled, or fallen back, while it was timed."""
    try:
        with _awake(remote):
            facts = remote.call("facts", timeout_s=settings.timeouts.load_s)
            entry.faults += [problem for problem in facts.get("problems", []) if problem not in entry.faults]
            entry.memory_mib = remote.call("memory", timeout_s=settings.timeouts.answer_s)
    except WorkerLost as loss:
        entry.faults.append(f"after measuring: {loss}")


def _throughput(entry: Entry, remote: Remote, settings: Settings) -> None:
    """A pass of its own: it disturbs nothing that was timed, and its failing spoils nothing."""
    if not settings.throughput_s or entry.faults:
        return
    limit = settings.timeouts.compile_s + 20 * settings.throughput_s
    try:
        with _awake(remote):
            entry.throughput = remote.call("throughput", settings.throughput_s, timeout_s=limit)
    except WorkerLost as loss:
        entry.throughput_fault = str(loss)


def _energy(entrant: Entrant, entry: Entry, remote: Remote, settings: Settings) -> None:
    """A pass of its own, like throughput."""
    if settings.energy is None or entry.faults:
        return
    limit = settings.timeouts.answer_s + 2 * settings.energy.busy_s
    try:
        meter = settings.find_meter(entrant.job.gpu)
        try:
            keep_going = partial(remote.call, "keep_going", timeout_s=limit)
            entry.energy = measure_energy(meter, settings.energy, partial(_awake, remote), keep_going)
        finally:
            meter.close()
    except (NoMeter, WorkerLost, OSError, ValueError) as reason:
        entry.energy_reason = str(reason)


def _start_afresh(entrant: Entrant, entry: Entry, folder: Path, settings: Settings) -> None:
    if entry.loaded is None or entry.faults:
        return
    limit = settings.timeouts.compile_s if entrant.compiles else settings.timeouts.load_s
    for _ in range(settings.cold_starts - 1):
        remote = Remote(entrant.job, worker_environment(settings), folder / f"{os.urandom(4).hex()}.log")
        try:
            entry.cold.append(remote.call("load", timeout_s=limit))
        except WorkerLost:
            return
        finally:
            remote.end()


def _latency_ms(entry: Entry) -> float:
    assert entry.warm_up is not None
    return entry.warm_up.latency_ms


@contextmanager
def _awake(remote: Remote) -> Iterator[None]:
    remote.wake()
    try:
        yield
    finally:
        remote.quiet()
