"""Passes after the rounds: they disturb nothing that was timed, and the failing of one spoils nothing."""

from functools import partial
from pathlib import Path
from typing import Any

from bench.harness.entries import Entrant, Entry, Settings, worker_environment
from bench.harness.launch import load_limit_s, worker_log
from bench.harness.remote import Remote, WorkerLost
from bench.machine.energy_meters import NoMeter
from bench.passes.energy import measure_energy


def image_to_joints(entrant: Entrant, entry: Entry, remote: Remote, settings: Settings) -> None:
    """From a photo in memory to joints in its pixels; see ``bench.passes.image_to_joints``."""
    if settings.image_s and entrant.job.predict is not None and not entry.faults:
        found = _answer(remote, "image_to_joints", settings.image_s, settings.timeouts.answer_s)
        entry.image_to_joints, entry.image_fault = found


def throughput(entrant: Entrant, entry: Entry, remote: Remote, settings: Settings) -> None:
    """Images a second over batches and calls in flight; see ``bench.passes.throughput``."""
    if settings.throughput_s and not entry.faults:
        found = _answer(remote, "throughput", settings.throughput_s, settings.timeouts.compile_s)
        entry.throughput, entry.throughput_fault = found


def _answer(remote: Remote, question: str, seconds: float, more_s: float) -> tuple[Any, str | None]:
    """What the worker finds in a pass of about so many seconds, or how it was lost."""
    try:
        with remote.awake():
            return remote.call(question, seconds, timeout_s=more_s + 20 * seconds), None
    except WorkerLost as loss:
        return None, str(loss)


def energy(entrant: Entrant, entry: Entry, remote: Remote, settings: Settings) -> None:
    """Joules an inference; see ``bench.passes.energy``."""
    if settings.energy is None or entry.faults:
        return
    limit_s = settings.timeouts.answer_s + 2 * settings.energy.busy_s
    try:
        meter = settings.find_meter(entrant.job.gpu)
        try:
            keep_going = partial(remote.call, "keep_going", timeout_s=limit_s)
            entry.energy = measure_energy(meter, settings.energy, remote.awake, keep_going)
        finally:
            meter.close()
    except (NoMeter, WorkerLost, OSError, ValueError) as reason:
        entry.energy_reason = str(reason)


PASSES = {"image to joints": image_to_joints, "throughput": throughput, "energy": energy}
"""In this order, each for all entrants, in the workers that were timed last."""


def start_afresh(entrant: Entrant, entry: Entry, folder: Path, settings: Settings) -> None:
    """Cold starts in fresh processes; those of the launches count."""
    if entry.loaded is None or entry.faults:
        return
    for _ in range(settings.cold_starts - 1 - len(entry.cold)):
        remote = Remote(entrant.job, worker_environment(settings), worker_log(folder))
        try:
            entry.cold.append(remote.call("load", timeout_s=load_limit_s(entrant, settings)))
        except WorkerLost:
            return
        finally:
            remote.end()
