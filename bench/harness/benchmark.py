"""``convnextpose bench`` as a function: an exported model, compared on this machine."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness.assemble import ratio_record, row_of, sample_arrays
from bench.harness.candidates import COMPILE_AT_START, PUBLISH, QUICK, Candidate, find_candidates, require_some
from bench.harness.entries import CONTROL, Entrant, Settings
from bench.harness.profiling import Profiles, take_profiles, with_profile
from bench.harness.remote import QUIESCE_METHOD
from bench.harness.run import Session, hold_session
from bench.harness.timed_parity import ParityJudge
from bench.machine.energy_meters import NoMeter, find_meter
from bench.machine.environment import environment_record, fingerprint, read_sensors
from bench.machine.system import memory_mib
from bench.passes.energy import EnergyPlan
from bench.passes.image_to_joints import Predictor
from bench.results.profile_record import NO_PROFILE
from bench.results.result import SAMPLES, NotRunRow, Result, SamplesFile, place_for, write_result
from bench.sessions.exported import ExportFolder
from bench.sessions.gpu_runtimes import is_gpu
from bench.sessions.onnx_runtime_gpu import TF32_VARIABLE
from bench.stats.steadiness import WarmUpRule
from bench.stats.stopping import StopRule
from export.common.files import sha256_file, whole_file
from export.common.plain import finite_or_none
from export.common.progress import Progress, no_progress

DEADLINES_MS = (33.3, 16.7)
IMAGES = 8
"""Distinct inputs, the first of those that parity is judged on."""


@dataclass(frozen=True)
class Mode:
    """How thorough."""

    name: str
    runtimes: tuple[str, ...]
    rule: StopRule
    warm_up: WarmUpRule
    nocopy: bool
    launches: int
    cold_starts: int
    image_s: float
    throughput_s: float
    profile: bool


GPU_ROW_S = 8.0
"""What each row on the GPU adds to the time for rounds: 20 visits of 0.1 s to settle and 0.15 s at two boundaries."""

QUICK_MODE = Mode(
    "quick",
    QUICK,
    StopRule(budget_s=40, quantile=0.9),
    WarmUpRule(cap_s=6),
    nocopy=False,
    launches=1,
    cold_starts=1,
    image_s=0.8,
    throughput_s=1.0,
    profile=False,
)
"""S with four backends in 90 s on two cores: 40 s of rounds, the rest is loading, warming up and passes."""
PUBLISH_MODE = Mode(
    "publish",
    PUBLISH,
    StopRule(budget_s=600, quantile=0.99),
    WarmUpRule(),
    nocopy=True,
    launches=3,
    cold_starts=5,
    image_s=5.0,
    throughput_s=5.0,
    profile=True,
)


@dataclass(frozen=True)
class Asked:
    """What a user may change."""

    mode: Mode = QUICK_MODE
    runtimes: tuple[str, ...] | None = None
    precisions: tuple[str, ...] | None = None
    threads: int = 1
    half_width: float = 0.01
    budget_s: float | None = None
    deadlines_ms: tuple[float, ...] = DEADLINES_MS
    seed: int = 0
    throughput: bool = False
    profile: bool = False
    energy: bool = False
    compared_with: str | None = None
    """The reference; None: as ``bench.harness.candidates.choose_reference`` says."""
    graph: bool = True
    """Whether engines are launched as CUDA graphs, as the recipe's trtexec does."""


def benchmark(
    exported: ExportFolder,
    asked: Asked,
    out: Path,
    progress: Progress = no_progress,
    alone: AbstractContextManager[None] | None = None,
) -> Result:
    """Measure and write ``result.json`` and ``samples.npz`` into ``out``; after Ctrl-C what there is by then.

    Args:
        exported: what is measured.
        asked: how.
        out: the folder for results.
        progress: is told what goes on.
        alone: is held while the machine is measured, and not for what is refused before that.

    Raises:
        BadInput: nothing to compare, or the export lacks its truth.
        NotPossible: nothing of what was asked for by name can be measured on this machine.
    """
    candidates, not_run = find_candidates(
        exported, asked.runtimes or asked.mode.runtimes, asked.precisions, asked.threads, asked.compared_with
    )
    if asked.runtimes:
        require_some(candidates, not_run, asked.runtimes)
    judge = ParityJudge(exported)
    images = judge.images[:IMAGES]
    out.mkdir(parents=True, exist_ok=True)
    settings = _settings(asked, out, candidates)
    with alone or nullcontext(), tempfile.TemporaryDirectory(prefix="convnextpose-bench-") as folder:
        inputs = Path(folder) / "inputs.npy"
        np.save(inputs, images)
        entrants = entrants_of(exported, candidates, inputs, nocopy=asked.mode.nocopy, graph=asked.graph)
        precisions = {entrant.name: entrant.precision for entrant in entrants}
        session = hold_session(
            entrants,
            candidates[0].id,
            images,
            lambda name, joints: judge(precisions[name], joints),
            settings,
            sensors=read_sensors,
            progress=progress,
        )
        profiles = None
        if asked.profile or asked.mode.profile:
            timed = [candidate.id for candidate in candidates if _timed(session, candidate.id)]
            profiles = Profiles(interrupted=True)
            if session.complete:
                profiles = take_profiles(entrants, timed, settings, progress)
    return _write(exported, candidates, not_run, asked, settings, session, profiles, out)


def _timed(session: Session, name: str) -> bool:
    """Whether its figures stand."""
    return not session.entries[name].faults and bool(session.measured.visits[name])


def entrants_of(
    exported: ExportFolder, candidates: Sequence[Candidate], inputs: Path, *, nocopy: bool, graph: bool = True
) -> list[Entrant]:
    """Each candidate, and the first, the reference, a second time."""
    first = candidates[0]
    named = [(candidate.id, candidate) for candidate in candidates] + [(first.id + CONTROL, first)]
    return [
        Entrant(
            name,
            replace(c.job(exported, inputs, nocopy=nocopy, graph=graph), predict=Predictor(exported)),
            c.precision,
            compiles=c.runtime in COMPILE_AT_START,
            control=name.endswith(CONTROL),
        )
        for name, c in named
    ]


def _settings(asked: Asked, out: Path, candidates: Sequence[Candidate]) -> Settings:
    on_gpu = sum(is_gpu(candidate.runtime) for candidate in candidates)
    budget_s = asked.budget_s or asked.mode.rule.budget_s + GPU_ROW_S * on_gpu
    rule = replace(asked.mode.rule, half_width=asked.half_width, budget_s=budget_s)
    environment = {
        "TORCHINDUCTOR_CACHE_DIR": str((out / "cache/inductor").absolute()),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # its pool of processes would outlive its use
        TF32_VARIABLE: "0",
    }
    return Settings(
        threads=asked.threads,
        rule=rule,
        warm_up=asked.mode.warm_up,
        parity_images=IMAGES,
        seed=asked.seed,
        launches=asked.mode.launches,
        cold_starts=asked.mode.cold_starts,
        image_s=asked.mode.image_s,
        throughput_s=PUBLISH_MODE.throughput_s if asked.throughput else asked.mode.throughput_s,
        energy=EnergyPlan() if asked.energy or (asked.mode is PUBLISH_MODE and _counts_energy(on_gpu > 0)) else None,
        environment=environment,
    )


def _counts_energy(on_gpu: bool) -> bool:
    """Whether some counter of energy can be read here."""
    for gpu in {False, on_gpu}:
        try:
            find_meter(gpu=gpu).close()
        except NoMeter:
            continue
        return True
    return False


def _write(
    exported: ExportFolder,
    candidates: Sequence[Candidate],
    not_run: Sequence[NotRunRow],
    asked: Asked,
    settings: Settings,
    session: Session,
    profiles: Profiles | None,
    out: Path,
) -> Result:
    first, measured = candidates[0].id, session.measured
    control = measured.ratio(first, first + CONTROL)
    ran = [of for of in candidates if session.entries[of.id].not_possible is None]
    rows = [row_of(of, session.entries[of.id], session, first, control, asked.deadlines_ms) for of in ran]
    rows = [with_profile(row, profiles, exported.architecture) for row in rows]
    complete = session.complete and not (profiles and profiles.interrupted)
    out = place_for(out, complete=complete)
    record = environment_record()
    overheads = [e.overhead_ns for e in session.entries.values() if e.overhead_ns is not None]
    result = Result(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=exported.manifest.model,
        weights=exported.manifest.weights.origin,
        complete=complete,
        mode=asked.mode.name,
        protocol=_protocol(asked, settings),
        stop_reason=measured.stop.reason if measured.stop else None,
        precision_reached=measured.stop is not None and measured.stop.reached,
        rounds=measured.rounds,
        environment=record,
        fingerprint=fingerprint(record),
        sensors=[dict(reading) for reading in measured.sensors],
        reference_id=first,
        control=ratio_record(control),
        harness_overhead_ns=max(overheads, default=None),
        coordinator_peak_mib=finite_or_none(memory_mib()["peak"]),
        rows=rows,
        not_run=[*_impossible(candidates, session), *not_run],
        peaks=profiles.peaks if profiles else [],
        peaks_reason=profiles.peaks_reason if profiles else NO_PROFILE,
        samples=_write_samples(out, sample_arrays(measured, rows)),
    )
    write_result(out, result)
    return result


def _protocol(asked: Asked, settings: Settings) -> dict[str, Any]:
    return {
        "topology": "one process for each backend; all but one stopped",
        "quiesce_method": QUIESCE_METHOD,
        "launches": settings.launches,
        "order": "random, every second round reversed",
        "seed": settings.seed,
        "threads": settings.threads,
        "images": IMAGES,
        "clock": "time.perf_counter_ns",
        "warm_up": asdict(settings.warm_up),
        "stop": asdict(settings.rule),
        "energy": asdict(settings.energy) if settings.energy else None,
        "cuda_graph": asked.graph,
    }


def _impossible(candidates: Sequence[Candidate], session: Session) -> list[NotRunRow]:
    """Return the candidates that only their worker found to be impossible here."""
    return [
        NotRunRow(runtime=of.runtime, precision=of.precision, reason=reason)
        for of in candidates
        if (reason := session.entries[of.id].not_possible) is not None
    ]


def _write_samples(out: Path, arrays: Mapping[str, Any]) -> SamplesFile | None:
    if not arrays:
        return None
    with whole_file(out / SAMPLES) as partial:
        np.savez_compressed(partial, **arrays)
    return SamplesFile(path=SAMPLES, sha256=sha256_file(out / SAMPLES))
