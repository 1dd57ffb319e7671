"""Passes after the rounds: they disturb nothing that was timed, and the failing of one spoils nothing."""

from functools import partial
from pathlib import Path

from bench.energy import measure_energy
from bench.energy_meters import NoMeter
from bench.entries import Entrant, Entry, Settings, worker_environment
from bench.launch import load_limit_s, worker_log
from bench.remote import Remote, WorkerLost


def image_to_joints(entrant: Entrant, entry: Entry, remote: Remote, settings: Settings) -> None:
    """From a photo in memory to joints in its pixels; see ``bench.image_to_joints``."""
    if not settings.image_s or entrant.job.predict is None or entry.faults:
        return
    limit_s = settings.timeouts.answer_s + 20 * settings.image_s
    try:
        with remote.awake():
            entry.image_to_joints = remote.call("image_to_joints", settings.image_s, timeout_s=limit_s)
    except WorkerLost as loss:
        entry.image_fault = str(loss)


def throughput(entrant: Entrant, entry: Entry, remote: Remote, settings: Settings) -> None:
    """Images a second over batches and calls in flight; see ``bench.throughput``."""
    if not settings.throughput_s or entry.faults:
        return
    limit_s = settings.timeouts.compile_s + 20 * settings.throughput_s
    try:
        with remote.awake():
            entry.throughput = remote.call("throughput", settings.throughput_s, timeout_s=limit_s)
    except WorkerLost as loss:
        entry.throughput_fault = str(loss)


def energy(entrant: Entrant, entry: Entry, remote: Remote, settings: Settings) -> None:
    """Joules an inference; see ``bench.energy``."""
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
