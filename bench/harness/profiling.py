"""The pass that takes profiles: after everything was timed, each in a fresh process, and the machine's peak at last."""

import os
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.harness.entries import Entrant, Settings, worker_environment
from bench.harness.job import HOST_E2E
from bench.harness.remote import Remote, WorkerLost
from bench.passes.layer_times import Profile
from bench.passes.peak import Peak
from bench.results.profile_record import PeakRecord, profile_record
from bench.results.result import Row
from bench.sessions.exported import TORCH_FORMS
from export.common.progress import Progress, no_progress
from export.model.architecture import Architecture

WARM_UP, RUNS = 10, 30
PEAK_S = 300.0
"""How long the peak is waited for; it should take a few seconds."""

CPU, INTERRUPTED = "CPU", "interrupted"


@dataclass
class Profiles:
    """What the pass has seen."""

    taken: dict[str, Profile] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Name → why there is no profile."""
    peaks: list[PeakRecord] = field(default_factory=list)
    peaks_reason: str | None = INTERRUPTED
    interrupted: bool = False


def take_profiles(
    entrants: Sequence[Entrant], timed: Collection[str], settings: Settings, progress: Progress = no_progress
) -> Profiles:
    """Profile those of the entrants that were timed, one after the other; what fails is a reason and nothing more.

    Args:
        entrants: of the session that has ended.
        timed: names of those whose figures stand.
        settings: the session's.
        progress: is told what is being done.
    """
    seen = Profiles()
    with tempfile.TemporaryDirectory(prefix="convnextpose-profile-") as folder:
        try:
            for entrant in entrants:
                if entrant.name in timed:
                    progress(f"profiling {entrant.name}")
                    _profile(entrant, seen, settings, Path(folder))
            seen.peaks_reason = "no row was profiled"
            if seen.taken:
                progress("measuring this machine's peak")
                _measure_peaks(entrants[0], seen, settings, Path(folder))
        except KeyboardInterrupt:
            seen.interrupted = True
            seen.peaks_reason = INTERRUPTED
            seen.missing |= {name: INTERRUPTED for name in timed if name not in seen.taken | seen.missing}
    return seen


def with_profile(row: Row, profiles: Profiles | None, architecture: Architecture) -> Row:
    """The row with its profile, or with the reason why there is none."""
    if profiles is None:
        return row
    profile, headline = profiles.taken.get(row.id), row.latency.get(HOST_E2E)
    if profile is None or headline is None:
        why = INTERRUPTED if profiles.interrupted else f"{row.verdict}: nothing was timed to compare it with"
        reason = profiles.missing.get(row.id, why)
        return row.model_copy(update={"profile_reason": reason})
    graph = architecture.layers() if row.runtime in TORCH_FORMS else architecture.deployed_layers()
    peaks = profiles.peaks if row.facts.get("device", CPU) == CPU else []
    record = profile_record(profile, graph, headline.p50_ms, row.precision_used or row.precision, peaks)
    return row.model_copy(update={"profile": record, "profile_reason": None})


def _profile(entrant: Entrant, seen: Profiles, settings: Settings, folder: Path) -> None:
    limit_s = settings.timeouts.compile_s if entrant.compiles else settings.timeouts.load_s
    remote = Remote(replace(entrant.job, nocopy=False), worker_environment(settings), _log(folder))
    try:
        profile: Profile = remote.call("profile", WARM_UP, RUNS, timeout_s=limit_s + settings.timeouts.answer_s)
    except WorkerLost as loss:
        seen.missing[entrant.name] = str(loss)
        return
    finally:
        remote.end()
    if profile.layers:
        seen.taken[entrant.name] = profile
    else:
        seen.missing[entrant.name] = f"{profile.source} reported no layer"


def _measure_peaks(entrant: Entrant, seen: Profiles, settings: Settings, folder: Path) -> None:
    """In a worker that loads no model."""
    remote = Remote(entrant.job, worker_environment(settings), _log(folder))
    try:
        peaks: list[Peak] = remote.call("peaks", settings.threads, timeout_s=PEAK_S)
    except WorkerLost as loss:
        seen.peaks_reason = str(loss)
        return
    finally:
        remote.end()
    seen.peaks, seen.peaks_reason = [PeakRecord(**peak) for peak in peaks], None


def _log(folder: Path) -> Path:
    return folder / f"{os.urandom(4).hex()}.log"
