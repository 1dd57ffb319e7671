"""Profiling pass: after all timing, each workload in a fresh process."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.harness.settings import Settings
from bench.harness.worker_process import WorkerLost, WorkerProcess
from bench.harness.workload import HOST_E2E, Workload
from bench.passes.layer_times import Profile
from bench.results.profile_record import profile_record
from bench.results.result import Row
from bench.sessions.exported import TORCH_FORMS
from export.common.progress import Progress, no_progress
from export.common.temporary import temporary_folder
from export.model.architecture import Architecture
from export.runtime.host import TEMPORARY_PREFIX

WARM_UP, RUNS = 10, 30
INTERRUPTED = "interrupted"


@dataclass
class Profiles:
    """Profiles of the workloads."""

    profiles: dict[str, Profile] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    """Workload's name → reason why there is no profile."""
    interrupted: bool = False


def take_profiles(
    workloads: Sequence[Workload],
    timed: Collection[str],
    images: NDArray[np.uint8],
    settings: Settings,
    progress: Progress = no_progress,
) -> Profiles:
    """Profile the timed workloads one after the other; a failure leaves a reason and nothing more."""
    result = Profiles()
    with temporary_folder(TEMPORARY_PREFIX) as folder:
        inputs = folder / "inputs.npy"
        np.save(inputs, images)
        try:
            for workload in workloads:
                if workload.name in timed:
                    progress(f"profiling {workload.name}")
                    _take_profile(workload, result, settings, inputs)
        except KeyboardInterrupt:
            result.interrupted = True
            result.reasons = dict.fromkeys(set(timed) - result.profiles.keys(), INTERRUPTED) | result.reasons
    return result


def add_profile(row: Row, profiles: Profiles | None, architecture: Architecture) -> Row:
    """Return the row with its profile, or with the reason why there is none."""
    if profiles is None:
        return row
    profile, headline = profiles.profiles.get(row.id), row.latency.get(HOST_E2E)
    if profile is None or headline is None:
        default = INTERRUPTED if profiles.interrupted else f"{row.verdict}: nothing was timed to compare it with"
        return row.model_copy(update={"profile_reason": profiles.reasons.get(row.id, default)})
    graph = architecture.layers() if row.runtime in TORCH_FORMS else architecture.deployed_layers()
    record = profile_record(profile, graph, headline.p50_ms)
    return row.model_copy(update={"profile": record, "profile_reason": None})


def _take_profile(workload: Workload, result: Profiles, settings: Settings, inputs: Path) -> None:
    timeout_s = settings.load_timeout_s(workload) + settings.timeouts.answer_s
    try:
        profile = _profile_in_worker(workload, settings, inputs, timeout_s)
    except WorkerLost as loss:
        result.reasons[workload.name] = str(loss)
        return
    if profile.layers:
        result.profiles[workload.name] = profile
    else:
        result.reasons[workload.name] = f"{profile.source} reported no layer"


def _profile_in_worker(workload: Workload, settings: Settings, inputs: Path, timeout_s: float) -> Profile:
    """Return the profile that a fresh worker takes."""
    worker = WorkerProcess(workload, inputs, settings.worker_environment, inputs.parent)
    try:
        profile: Profile = worker.call("profile", WARM_UP, RUNS, timeout_s=timeout_s)
        return profile
    finally:
        worker.end()
