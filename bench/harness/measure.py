"""One benchmark: launches that time all workloads side by side, then the passes; no worker is left behind."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness.launch import Launcher
from bench.harness.measurements import Measurements
from bench.harness.passes import PASSES, cold_starts, profile
from bench.harness.settings import CheckParity, Settings
from bench.harness.worker_process import end_all
from bench.harness.workload import Workload
from export.common.progress import Progress, no_progress
from export.common.temporary import temporary_folder
from export.runtime.host import TEMPORARY_PREFIX


def measure_workloads(
    workloads: Sequence[Workload],
    reference: str,
    images: NDArray[np.uint8],
    check_parity: CheckParity,
    settings: Settings,
    *,
    sensors: Callable[[], Mapping[str, Any]] = dict,
    progress: Progress = no_progress,
) -> Measurements:
    """Measure all workloads side by side.

    Args:
        workloads: with the reference and its control, each under a name of its own.
        reference: name of the workload that all others are compared with.
        images: (N, S, S, 3) RGB pixels; one image a call, in turn.
        check_parity: decides from a workload's joints whether it may be timed.
        settings: parameters of the benchmark.
        sensors: read between rounds.
        progress: called at each step.

    Returns:
        The measurements; after Ctrl-C those until then. No worker is left.
    """
    with temporary_folder(TEMPORARY_PREFIX) as folder:
        launcher = Launcher(workloads, reference, images, check_parity, settings, sensors, progress, folder)
        measurements = launcher.measurements
        try:
            launcher.run_launches()
            if measurements.complete:
                _run_passes(launcher)
        except KeyboardInterrupt:
            measurements.interrupted = True
        finally:
            end_all(launcher.workers)
    return measurements


def _run_passes(launcher: Launcher) -> None:
    """Run each pass for all workloads, in the workers that were timed last; then start them afresh."""
    settings, records = launcher.settings, launcher.measurements.records
    workloads = [w for w in launcher.workloads if w.name in launcher.workers and not w.is_control]
    workloads = [w for w in workloads if records[w.name].is_usable]
    for title, run in PASSES.items():
        for workload in workloads:
            launcher.progress(f"{title} of {workload.name}")
            run(workload, records[workload.name], launcher.workers[workload.name], settings)
    for workload in workloads if settings.cold_starts > 1 else ():
        launcher.progress(f"starting {workload.name} afresh")
        cold_starts(workload, records[workload.name], settings, launcher.start_worker)
    if settings.profile:
        end_all(launcher.workers)
        for workload in workloads:
            launcher.progress(f"profiling {workload.name}")
            profile(workload, records[workload.name], settings, launcher.start_worker)
