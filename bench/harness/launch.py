"""One launch: workers are started afresh, judged, warmed up, timed in rounds, and asked once more what they are."""

import os
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness.entries import Entrant, Entry, JudgeJoints, Settings, Timeouts, worker_environment
from bench.harness.job import Samples, WarmUp
from bench.harness.remote import Remote, WorkerLost
from bench.harness.rounds import Measured, Plan, run_rounds
from export.common.progress import Progress


@dataclass(frozen=True, eq=False)
class Course:
    """What all launches of a benchmark have in common."""

    entrants: Sequence[Entrant]
    reference: str
    inputs: NDArray[np.uint8]
    judge: JudgeJoints
    settings: Settings
    sensors: Callable[[], Mapping[str, Any]]
    progress: Progress
    folder: Path
    """For what workers write."""


class _Visitor:
    """A worker that runs while it is visited, and at no other time."""

    def __init__(self, remote: Remote, latency_ms: float, timeouts: Timeouts) -> None:
        self._remote, self._latency_s, self._timeouts = remote, latency_ms / 1e3, timeouts

    def visit(self, iterations: int) -> Samples:
        """See ``bench.harness.rounds.Contender``."""
        with self._remote.awake():
            expected = 20 * self._latency_s * (iterations + 4)
            taken: Samples = self._remote.call("visit", iterations, timeout_s=self._timeouts.answer_s + expected)
        return taken


def hold_launch(
    course: Course,
    launch: int,
    entries: Mapping[str, Entry],
    measured: Measured,
    remotes: MutableMapping[str, Remote],
) -> None:
    """Start, judge and time all that has no fault until now.

    Args:
        course: what is compared, and how.
        launch: which one this is, from 0.
        entries: added to.
        measured: what earlier launches have seen; added to.
        remotes: empty; holds the workers of this launch from their first moment on, and in the end those that are left.
    """
    settings, progress = course.settings, course.progress
    latencies_ms: dict[str, float] = {}
    for entrant in course.entrants:
        if not entries[entrant.name].faults and entries[entrant.name].not_possible is None:
            progress(f"loading {entrant.name}")
            _start(course, launch, entrant, entries[entrant.name], remotes)
    for name in list(remotes):
        progress(f"warming up {name}")
        _warm_up(name, entries[name], remotes, settings, latencies_ms)
    if course.reference in remotes:
        visitors = {n: _Visitor(r, latencies_ms[n], settings.timeouts) for n, r in remotes.items()}
        plan = Plan(course.reference, settings.rule, settings.seed, launch, settings.launches, decide=settings.decide)
        run_rounds(
            visitors,
            latencies_ms,
            plan,
            clock=time.monotonic,
            before=measured,
            sensors=course.sensors,
            progress=progress,
        )
    for name in remotes.keys() & measured.lost.keys():
        entries[name].faults.append(measured.lost[name])
        remotes.pop(name).end()
    for name, remote in remotes.items():
        _ask_again(entries[name], remote, settings)


def worker_log(folder: Path) -> Path:
    """Where one worker writes."""
    return folder / f"{os.urandom(4).hex()}.log"


def load_limit_s(entrant: Entrant, settings: Settings) -> float:
    """How long loading may take."""
    return settings.timeouts.compile_s if entrant.compiles else settings.timeouts.load_s


def _start(course: Course, launch: int, entrant: Entrant, entry: Entry, remotes: MutableMapping[str, Remote]) -> None:
    """Start the worker, have it load and judge it; a worker that may not be timed is ended."""
    settings = course.settings
    remote = Remote(entrant.job, worker_environment(settings), worker_log(course.folder))
    remotes[entrant.name] = remote
    try:
        loaded = remote.call("load", timeout_s=load_limit_s(entrant, settings))
        if entry.loaded is None:
            entry.loaded = loaded
        else:
            entry.cold.append(loaded)
        entry.faults += loaded.facts.get("problems", [])
        count = min(len(course.inputs), settings.parity_images)
        expected = 20 * count * loaded.first_ms / 1e3
        joints = remote.call("joints", count, timeout_s=settings.timeouts.answer_s + expected)
        entry.parity = course.judge(entrant.name, joints)
        if entry.parity["outcome"] != "pass":
            entry.faults.append(f"parity {entry.parity['outcome']}: {entry.parity['reason']}")
        entry.overhead_ns = remote.call("overhead_ns", timeout_s=settings.timeouts.answer_s)
    except WorkerLost as loss:
        if loss.possible or launch > 0:
            entry.faults.append(str(loss))
        else:
            entry.not_possible = str(loss)
    if entry.faults or entry.not_possible:
        remotes.pop(entrant.name).end()
    else:
        remote.quiet()


def _warm_up(
    name: str,
    entry: Entry,
    remotes: MutableMapping[str, Remote],
    settings: Settings,
    latencies_ms: MutableMapping[str, float],
) -> None:
    rule = settings.warm_up
    try:
        with remotes[name].awake():
            limit_s = settings.timeouts.answer_s + 10 * rule.cap_s
            warm_up: WarmUp = remotes[name].call("warm_up", rule, timeout_s=limit_s)
    except WorkerLost as loss:
        entry.faults.append(f"while warming up: {loss}")
        remotes.pop(name).end()
        return
    latencies_ms[name] = warm_up.latency_ms
    if entry.warm_up is None or _worse(warm_up) > _worse(entry.warm_up):
        entry.warm_up = warm_up


def _worse(warm_up: WarmUp) -> tuple[bool, float]:
    return warm_up.state != "steady", warm_up.seconds


def _ask_again(entry: Entry, remote: Remote, settings: Settings) -> None:
    """What it is now: it may have recompiled, or fallen back, while it was timed."""
    try:
        with remote.awake():
            facts = remote.call("facts", timeout_s=settings.timeouts.load_s)
            entry.faults += [problem for problem in facts.get("problems", []) if problem not in entry.faults]
            memory: Mapping[str, float] = remote.call("memory", timeout_s=settings.timeouts.answer_s)
    except WorkerLost as loss:
        entry.faults.append(f"after measuring: {loss}")
        return
    if not entry.memory_mib or memory["peak"] > entry.memory_mib["peak"]:
        entry.memory_mib = memory
