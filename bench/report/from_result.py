"""``bench/result.json`` in the words of ``subject``. Only this file knows how a result is laid out."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.environment import identity
from bench.exported import TORCH_FORMS
from bench.profile_record import PeakRecord, ProfileRecord
from bench.report import curves
from bench.report.sources import Arrays
from bench.report.subject import (
    HEADLINE,
    Accuracy,
    Bench,
    Drift,
    Launch,
    Misses,
    Part,
    PhotoToJoints,
    Profile,
    Row,
    SpeedUp,
    StateCurve,
    Tail,
    ThroughputPoint,
    Timing,
)
from bench.result import ImageToJoints, Latency, RatioRecord, Result
from bench.result import Row as Measured

SAMPLES_GONE = "samples.npz, which holds the raw latencies, is not beside the result"

AccuracyOf = Mapping[str | None, Sequence[Accuracy]]
"""A file's sha256 → its evaluations; None → those of the PyTorch reference."""


def bench_of(result: Result, samples: Arrays | None, accuracy: AccuracyOf, build_s: Mapping[str, float]) -> Bench:
    """All of it; ``build_s`` is by a file's sha256."""
    protocol = result.protocol
    return Bench(
        created=result.created,
        mode=result.mode,
        complete=result.complete,
        rounds=result.rounds,
        stop_reason=result.stop_reason,
        precision_reached=result.precision_reached,
        threads=protocol["threads"],
        seed=protocol["seed"],
        budget_s=protocol.get("stop", {}).get("budget_s"),
        control=_speed_up(result.control),
        overhead_ns=result.harness_overhead_ns,
        rows=tuple(_row(row, samples or {}, accuracy, build_s) for row in result.rows),
        not_run=tuple((f"{of.runtime} {of.precision or ''}".strip(), of.reason) for of in result.not_run),
        state=tuple(_state(result.sensors)),
        peaks=tuple(_best_peaks(result.peaks)),
        peaks_reason=result.peaks_reason,
        environment=result.environment,
        fingerprint=result.fingerprint,
        identity=identity(result.environment),
        samples_missing=SAMPLES_GONE if samples is None and result.samples is not None else None,
    )


def _row(row: Measured, samples: Arrays, accuracy: AccuracyOf, build_s: Mapping[str, float]) -> Row:
    nothing = np.empty(0)
    taken, rounds = (samples.get(f"{row.id}|{HEADLINE}|{name}", nothing) for name in ("samples_ms", "round"))
    starts, sha256 = row.cold_start, row.artifact_sha256
    evaluated = sha256 is not None or row.runtime in TORCH_FORMS
    return Row(
        id=row.id,
        runtime=row.runtime,
        precision=row.precision,
        computes=row.precision_used if row.precision_used != row.precision else None,
        is_reference=row.is_reference,
        verdict=row.verdict,
        reasons=tuple(row.reasons),
        drift=_drift(row.parity),
        file=row.artifact,
        file_sha256=row.artifact_sha256,
        file_bytes=row.artifact_bytes,
        timings={name: _timing(name, of) for name, of in row.latency.items()},
        speed_up=_speed_up(row.speed_up, same=row.speed_up is not None and row.speed_up.same),
        peak_mib=row.memory.peak_mib if row.memory else None,
        build_s=build_s.get(sha256 or ""),
        load_ms=tuple(starts.load_ms) if starts else (),
        first_ms=tuple(starts.first_ms) if starts else (),
        throughput=tuple(
            ThroughputPoint(of.batch, of.in_flight, of.images_per_s, of.p50_ms, of.calls) for of in row.throughput or ()
        ),
        throughput_reason=row.throughput_reason,
        photo=_photo(row.image_to_joints),
        photo_reason=row.image_to_joints_reason,
        launches=tuple(Launch(of.p50_ms, of.speed_up) for of in row.launches or ()),
        profile=_profile(row.runtime, row.profile) if row.profile else None,
        profile_reason=row.profile_reason,
        energy_j=row.energy.net_j if row.energy else None,
        energy_reason=row.energy_reason,
        accuracy=_accuracy(row.runtime, accuracy.get(sha256, ())) if evaluated else (),
        rounds_ms=curves.every(curves.round_medians(taken, rounds)),
        slower=tuple(curves.slower_than(taken)) if row.verdict in ("stable", "noisy") else (),
    )


def _accuracy(runtime: str, evaluated: Sequence[Accuracy]) -> tuple[Accuracy, ...]:
    """What the same runtime made of the file; where it was not evaluated in it, what others made of it."""
    return tuple(of for of in evaluated if of.run_by.split()[0] == runtime) or tuple(evaluated)


def _timing(boundary: str, of: Latency) -> Timing:
    return Timing(
        boundary=boundary,
        samples=of.samples,
        rounds=of.rounds,
        p50_ms=of.p50_ms,
        low_ms=of.round_median_low_ms,
        high_ms=of.round_median_high_ms,
        tails=tuple(Tail(p.quantile, p.value_ms, p.upper_ms, p.floor) for p in of.percentiles),
        misses=tuple(Misses(d.deadline_ms, d.missed, d.rate, d.high) for d in of.deadlines),
    )


def _photo(of: ImageToJoints | None) -> PhotoToJoints | None:
    if of is None:
        return None
    stages = (of.crop_p50_ms, of.normalise_p50_ms, of.network_p50_ms, of.decode_p50_ms)
    return PhotoToJoints(of.image_width, of.image_height, of.samples, of.total_p50_ms, *stages)


def _drift(parity: Mapping[str, Any] | None) -> Drift | None:
    if parity is None:
        return None
    mean, largest = parity.get("mean_mm"), parity.get("max_mm")
    status = parity.get("status", parity["outcome"])
    return Drift(parity["outcome"], status, parity.get("reason", ""), mean, largest, parity.get("images", 0))


def _speed_up(ratio: RatioRecord | None, *, same: bool = False) -> SpeedUp | None:
    return SpeedUp(ratio.median, ratio.low, ratio.high, same) if ratio else None


def _profile(runtime: str, of: ProfileRecord) -> Profile:
    account = [
        f"{of.layers_ms:.2f} ms in layers of {of.call_mean_ms:.2f} ms a call (means of {of.runs}, by {of.source})",
        f"profiled p50 = {of.slowdown:.0%} of the unprofiled",
        f"{of.attributed:.1%} attributed",
        *([f"peak: {of.peak_precision}"] if of.peak_precision else []),
        *([of.remark] if of.remark else []),
    ]
    return Profile(
        graph="released" if runtime in TORCH_FORMS else "exported",
        parts=tuple(Part(p.part, p.ms, p.time_share, p.macs_share, p.gflops, p.peak_share) for p in of.parts),
        account="; ".join(account),
    )


def _best_peaks(peaks: Sequence[PeakRecord]) -> list[tuple[str, float, str]]:
    """The fastest of each precision, which is the one that parts are measured by."""
    best = {of.precision: of for of in sorted(peaks, key=lambda of: of.gflops)}
    return [(name, of.gflops, f"{of.library}, {of.size}×{of.size}") for name, of in sorted(best.items())]


def _state(sensors: Sequence[Mapping[str, Any]]) -> list[StateCurve]:
    """Every sensor that said something; ticks become the share that was stolen since the reading before."""
    curves_of = [
        ("load", "tasks, 1 min mean", [of.get("load_1min") for of in sensors]),
        ("waiting for a processor", "% of 10 s", [of.get("cpu_pressure_10s") for of in sensors]),
        ("stolen by the hypervisor", "% of the time", _stolen(sensors)),
        ("processor clock", "MHz", [of.get("cpu_clock_mhz") for of in sensors]),
        ("GPU clock", "MHz", [_of_gpu(of, "sm_clock_mhz") for of in sensors]),
        ("GPU temperature", "°C", [_of_gpu(of, "temperature_c") for of in sensors]),
    ]
    kept = []
    for name, unit, values in curves_of:
        points = [(index, float(value)) for index, value in enumerate(values) if value is not None]
        if points:
            kept.append(StateCurve(name, unit, curves.every(points)))
    return kept


def _stolen(sensors: Sequence[Mapping[str, Any]]) -> list[float | None]:
    shares: list[float | None] = [None]
    for before, now in itertools.pairwise(sensors):
        ticks = [of.get(name) for name in ("steal_ticks", "total_ticks") for of in (before, now)]
        known = [tick for tick in ticks if tick is not None]
        passed = known[3] - known[2] if len(known) == 4 else 0
        shares.append(100 * (known[1] - known[0]) / passed if passed > 0 else None)
    return shares


def _of_gpu(reading: Mapping[str, Any], name: str) -> Any:
    return next((gpu.get(name) for gpu in reading.get("gpus") or ()), None)
