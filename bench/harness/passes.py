"""Passes after the rounds: they disturb no timing, and a failed pass leaves a reason instead of a figure."""

from collections.abc import Callable
from functools import partial
from typing import Any

from bench.harness.measurements import WorkloadRecord
from bench.harness.settings import Settings
from bench.harness.worker_process import WorkerLost, WorkerProcess
from bench.harness.workload import Workload
from bench.machine.energy_meters import NoMeter
from bench.passes.energy import measure_energy
from bench.passes.layer_times import Profile

Start = Callable[[Workload], WorkerProcess]
"""Returns a fresh worker process, which has loaded nothing yet."""

PROFILE_WARM_UP, PROFILE_RUNS = 10, 30


def image_to_joints(workload: Workload, record: WorkloadRecord, worker: WorkerProcess, settings: Settings) -> None:
    """Time the way from a photo in memory to joints in its pixels; see ``bench.passes.image_to_joints``."""
    if settings.image_s and workload.predict is not None:
        answer = _call(worker, "image_to_joints", settings.image_s, settings.timeouts.answer_s)
        record.image_to_joints, record.image_fault = answer


def throughput(workload: Workload, record: WorkloadRecord, worker: WorkerProcess, settings: Settings) -> None:
    """Measure images a second over batches and calls in flight; see ``bench.passes.throughput``."""
    if settings.throughput_s:
        answer = _call(worker, "throughput", settings.throughput_s, settings.timeouts.compile_s)
        record.throughput, record.throughput_fault = answer


def _call(worker: WorkerProcess, method: str, seconds: float, more_s: float) -> tuple[Any, str | None]:
    """Return the answer of a pass that takes about so many seconds, or the reason why there is none."""
    try:
        with worker.running():
            return worker.call(method, seconds, timeout_s=more_s + 20 * seconds), None
    except WorkerLost as loss:
        return None, str(loss)


def energy(workload: Workload, record: WorkloadRecord, worker: WorkerProcess, settings: Settings) -> None:
    """Measure joules an inference; see ``bench.passes.energy``."""
    if settings.energy is None:
        return
    timeout_s = settings.timeouts.answer_s + 2 * settings.energy.busy_s
    try:
        meter = settings.find_meter(workload.gpu)
        try:
            keep_going = partial(worker.call, "keep_going", timeout_s=timeout_s)
            record.energy = measure_energy(meter, settings.energy, worker.running, keep_going)
        finally:
            meter.close()
    except (NoMeter, WorkerLost, OSError, ValueError) as reason:
        record.energy_reason = str(reason)


PASSES = {"image to joints": image_to_joints, "throughput": throughput, "energy": energy}
"""In this order, each for all workloads."""


def cold_starts(workload: Workload, record: WorkloadRecord, settings: Settings, start: Start) -> None:
    """Load the workload in fresh processes, as often as the launches have not done it."""
    for _ in range(settings.cold_starts - 1 - len(record.cold)):
        worker = start(workload)
        try:
            record.cold.append(worker.call("load", timeout_s=settings.load_timeout_s(workload)))
        except WorkerLost:
            return
        finally:
            worker.end()


def profile(workload: Workload, record: WorkloadRecord, settings: Settings, start: Start) -> None:
    """Time the layers in a fresh process, which does nothing else; see ``bench.passes.layer_times``."""
    worker = start(workload)
    try:
        timeout_s = settings.load_timeout_s(workload) + settings.timeouts.answer_s
        taken: Profile = worker.call("profile", PROFILE_WARM_UP, PROFILE_RUNS, timeout_s=timeout_s)
    except WorkerLost as loss:
        record.profile_reason = str(loss)
    else:
        record.profile = taken if taken.layers else None
        record.profile_reason = None if taken.layers else f"{taken.source} reported no layer"
    finally:
        worker.end()
