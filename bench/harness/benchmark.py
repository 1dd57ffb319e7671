"""``convnextpose bench`` as a function: measure an exported model on this machine, write the result."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness.assemble import add_profile, row_of, sample_arrays
from bench.harness.candidates import PUBLISH, QUICK, Candidate, find_candidates, require_some
from bench.harness.measure import measure_workloads
from bench.harness.measurements import Measurements
from bench.harness.options import BenchOptions
from bench.harness.parity_check import ParityCheck
from bench.harness.settings import Settings
from bench.harness.worker_process import QUIESCE_METHOD
from bench.harness.workload import CONTROL
from bench.machine.energy_meters import NoMeter, find_meter
from bench.machine.environment import environment_record, fingerprint, read_sensors
from bench.machine.system import memory_mib
from bench.passes.energy import EnergyPlan
from bench.results.result import SAMPLES, NotRunRow, Result, SamplesFile, place_for, write_result
from bench.sessions.exported import ExportFolder
from bench.sessions.gpu_runtimes import is_gpu
from bench.sessions.onnx_runtime_gpu import TF32_VARIABLE
from bench.stats.steadiness import WarmUpRule
from bench.stats.stopping import StopRule
from export.common.files import sha256_file, whole_file
from export.common.plain import finite_or_none
from export.common.progress import Progress, no_progress
from export.runtime.processor import default_threads

DEADLINES_MS = (33.3, 16.7)
IMAGES = 8
"""Distinct inputs: the first of the parity images."""


@dataclass(frozen=True)
class Mode:
    """Thoroughness of a benchmark."""

    runtimes: tuple[str, ...]
    settings: Settings
    nocopy: bool


GPU_ROW_S = 8.0
"""Time for rounds that each row on the GPU adds: 20 blocks of 0.1 s to settle and 0.15 s at two boundaries."""

QUICK_MODE = Mode(
    QUICK,
    Settings(1, StopRule(budget_s=40, quantile=0.9), WarmUpRule(cap_s=6), image_s=0.8, throughput_s=1.0),
    nocopy=False,
)
"""S in four runtimes takes 90 s on two cores: 40 s of rounds; the rest is loading, warming up and passes."""
PUBLISH_MODE = Mode(
    PUBLISH,
    Settings(
        1,
        StopRule(budget_s=600, quantile=0.99),
        WarmUpRule(),
        launches=3,
        cold_starts=5,
        image_s=5.0,
        throughput_s=5.0,
        profile=True,
    ),
    nocopy=True,
)


def benchmark(
    exported: ExportFolder,
    options: BenchOptions,
    out: Path,
    runtimes: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    *,
    progress: Progress = no_progress,
    machine_lock: AbstractContextManager[None] | None = None,
) -> Result:
    """Measure and write ``result.json`` and ``samples.npz`` into ``out``; after Ctrl-C what there is by then.

    Args:
        exported: the model to measure.
        options: the user's.
        out: the folder for results.
        runtimes: to measure; None: those of the mode.
        precisions: of the files; None: all in the export.
        progress: called at each step.
        machine_lock: held while the machine is measured, but not yet while the request is checked.

    Raises:
        BadInput: nothing to compare, or the export lacks its ground truth.
        NotPossible: none of the named runtimes can be measured on this machine.
    """
    mode, threads = mode_of(options), options.threads or default_threads()
    candidates, skipped = find_candidates(exported, runtimes or mode.runtimes, precisions, threads, options.reference)
    if runtimes:
        require_some(candidates, skipped, runtimes)
    parity = ParityCheck(exported)
    images = parity.images[:IMAGES]
    out.mkdir(parents=True, exist_ok=True)
    settings, first = make_settings(options, out, candidates), candidates[0]
    workloads = [
        candidate.workload(exported, name, nocopy=mode.nocopy, graph=options.cuda_graph)
        for candidate, name in [*((candidate, candidate.id) for candidate in candidates), (first, first.id + CONTROL)]
    ]
    with machine_lock or nullcontext():
        measurements = measure_workloads(
            workloads,
            first.id,
            images,
            lambda workload, joints: parity(workload.precision, joints),
            settings,
            sensors=read_sensors,
            progress=progress,
        )
    return _write(exported, candidates, skipped, options, settings, measurements, out)


def mode_of(options: BenchOptions) -> Mode:
    """Return the mode that the options name."""
    return PUBLISH_MODE if options.mode == "publish" else QUICK_MODE


def make_settings(options: BenchOptions, out: Path, candidates: Sequence[Candidate]) -> Settings:
    """Return the settings of the harness for these options and candidates."""
    mode, on_gpu = mode_of(options), sum(is_gpu(candidate.runtime) for candidate in candidates)
    rule, throughput_s = mode.settings.rule, mode.settings.throughput_s
    budget_s = options.budget_s or rule.budget_s + GPU_ROW_S * on_gpu
    return replace(
        mode.settings,
        threads=options.threads or default_threads(),
        rule=replace(rule, half_width=options.half_width, budget_s=budget_s),
        parity_images=IMAGES,
        seed=options.seed,
        throughput_s=PUBLISH_MODE.settings.throughput_s if options.throughput else throughput_s,
        profile=options.profile or mode.settings.profile,
        energy=EnergyPlan() if options.energy or (mode is PUBLISH_MODE and has_energy_meter(on_gpu > 0)) else None,
        environment={
            "TORCHINDUCTOR_CACHE_DIR": str((out / "cache/inductor").absolute()),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",  # its pool of processes would outlive its use
            TF32_VARIABLE: "0",
        },
    )


def has_energy_meter(on_gpu: bool) -> bool:
    """Return whether this machine has an energy meter that can be read."""
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
    skipped: Sequence[NotRunRow],
    options: BenchOptions,
    settings: Settings,
    measurements: Measurements,
    out: Path,
) -> Result:
    first, rounds, records = candidates[0].id, measurements.rounds, measurements.records
    control = rounds.ratio(first, first + CONTROL)
    rows, impossible = [], []
    for candidate in candidates:
        if (reason := records[candidate.id].not_possible) is not None:
            impossible.append(NotRunRow(runtime=candidate.runtime, precision=candidate.precision, reason=reason))
        else:
            row = row_of(candidate, measurements, first, control, options.deadlines_ms or DEADLINES_MS)
            rows.append(add_profile(row, measurements, exported.architecture) if settings.profile else row)
    out = place_for(out, complete=measurements.complete)
    environment = environment_record()
    overheads_ns = [record.overhead_ns for record in records.values() if record.overhead_ns is not None]
    result = Result(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=exported.manifest.model,
        weights=exported.manifest.weights.origin,
        complete=measurements.complete,
        mode=options.mode,
        protocol=_protocol(settings, graph=options.cuda_graph),
        stop_reason=rounds.stop.reason if rounds.stop else None,
        precision_reached=rounds.stop is not None and rounds.stop.reached,
        rounds=rounds.completed,
        environment=environment,
        fingerprint=fingerprint(environment),
        sensors=[dict(reading) for reading in rounds.sensors],
        reference_id=first,
        control=control,
        harness_overhead_ns=max(overheads_ns, default=None),
        coordinator_peak_mib=finite_or_none(memory_mib()["peak"]),
        rows=rows,
        not_run=[*impossible, *skipped],
        samples=_write_samples(out, sample_arrays(rounds, rows)),
    )
    write_result(out, result)
    return result


def _protocol(settings: Settings, *, graph: bool) -> dict[str, Any]:
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
        "cuda_graph": graph,
    }


def _write_samples(out: Path, arrays: Mapping[str, Any]) -> SamplesFile | None:
    if not arrays:
        return None
    with whole_file(out / SAMPLES) as partial:
        np.savez_compressed(partial, **arrays)
    return SamplesFile(path=SAMPLES, sha256=sha256_file(out / SAMPLES))
