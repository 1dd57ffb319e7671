"""From what a session has seen to the rows of a result: pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness.candidates import Candidate
from bench.harness.entries import CONTROL, Entry
from bench.harness.rounds import Measured
from bench.harness.run import Session
from bench.machine.environment import share_with, steal_share
from bench.results.profile_record import NO_PROFILE
from bench.results.result import (
    ColdStart,
    Energy,
    ImageToJoints,
    Latency,
    LaunchRecord,
    Memory,
    MissesRecord,
    PercentileRecord,
    RatioRecord,
    Row,
    SpeedUp,
    ThroughputPoint,
    WarmUpRecord,
)
from bench.stats.quality import Evidence, Quality, assess, same_as_reference
from bench.stats.statistics import (
    PERCENTILES,
    Ratio,
    deadline_misses,
    drift,
    log_ratios,
    percentile,
    relative_iqr,
    tukey_outliers,
)
from bench.stats.stopping import FIRST_LOOK
from export.common.plain import finite_or_none


def verdict_of(name: str, entry: Entry, session: Session, reference: str, control: Ratio | None) -> Quality:
    """The verdict of one entrant; the reference is judged by its control."""
    measured = session.measured
    faults = tuple(dict.fromkeys(entry.faults))
    if not faults and not measured.visits[name]:
        faults = ("not measured: the run was interrupted" if not session.complete else "not measured",)
    ratio = control if name == reference else measured.ratio(reference, name)
    medians = list(measured.round_medians_ms(name).values())
    seen = Evidence(
        faults=faults,
        ratio=ratio,
        control=control,
        control_faults=_control_faults(session, reference),
        control_drift=_drift(measured, reference, reference + CONTROL),
        spread=relative_iqr(medians) if medians else 0.0,
        drift=_drift(measured, reference, name),
        steal=steal_share(measured.sensors),
        throttled=share_with(measured.sensors, "throttled"),
        power_capped=share_with(measured.sensors, "power_capped"),
        steady=entry.warm_up is None or entry.warm_up.state == "steady",
    )
    return assess(seen)


def _control_faults(session: Session, reference: str) -> tuple[str, ...]:
    """Why A′ is no control: what was said of it, or that it never became steady."""
    entry = session.entries[reference + CONTROL]
    faults = [*entry.faults, *([entry.not_possible] if entry.not_possible else [])]
    if entry.warm_up is not None and entry.warm_up.state != "steady":
        faults.append("warming up did not end in a steady state")
    return tuple(dict.fromkeys(faults))


def _drift(measured: Measured, reference: str, name: str) -> float:
    logs = log_ratios(*measured.paired_ms(reference, name))
    return drift(logs) if len(logs) else 0.0


def row_of(
    candidate: Candidate,
    entry: Entry,
    session: Session,
    reference: str,
    control: Ratio | None,
    deadlines_ms: Sequence[float],
) -> Row:
    """One row, with what its verdict allows and nothing more."""
    measured, name = session.measured, candidate.id
    verdict = verdict_of(name, entry, session, reference, control)
    loaded, artifact = entry.loaded, candidate.artifact
    facts = dict(loaded.facts) if loaded else {}
    ratio = measured.ratio(reference, name) if verdict.speed_up and name != reference else None
    latency = {}
    if verdict.timing and loaded is not None:
        for boundary in loaded.boundaries:
            latency[boundary] = latency_of(measured, name, boundary, deadlines_ms, tails=verdict.speed_up)
    return Row(
        id=name,
        runtime=candidate.runtime,
        precision=candidate.precision,
        precision_used=facts.get("precision_used"),
        batch=1,
        threads=candidate.threads,
        artifact=artifact.path if artifact else None,
        artifact_sha256=artifact.sha256 if artifact else None,
        artifact_bytes=artifact.size_bytes if artifact else None,
        is_reference=name == reference,
        verdict=verdict.name,
        reasons=list(verdict.reasons),
        parity=dict(entry.parity) if entry.parity is not None else None,
        latency=latency,
        speed_up=_speed_up(ratio, control),
        launches=launches_of(session, name, reference, verdict) if verdict.timing else None,
        warm_up=_warm_up(entry) if verdict.timing else None,
        cold_start=_cold_start(entry) if verdict.timing else None,
        memory=_memory(entry),
        image_to_joints=ImageToJoints.model_validate(entry.image_to_joints) if entry.image_to_joints else None,
        image_to_joints_reason=_no_pass(entry.image_to_joints, entry.image_fault, verdict),
        throughput=[ThroughputPoint.model_validate(p) for p in entry.throughput] if entry.throughput else None,
        throughput_reason=_no_pass(entry.throughput, entry.throughput_fault, verdict),
        profile=None,
        profile_reason=NO_PROFILE,
        energy=Energy.model_validate(entry.energy) if entry.energy and verdict.timing else None,
        energy_reason=_no_energy(entry, verdict),
        facts=finite_or_none(facts),
        description=loaded.description if loaded else None,
    )


def latency_of(measured: Measured, name: str, boundary: str, deadlines_ms: Sequence[float], *, tails: bool) -> Latency:
    """One boundary's figures. Percentiles above the median need their floor of samples and enough rounds.

    So do missed deadlines: their interval counts samples as independent, and those of a few rounds are not.
    """
    samples = measured.samples_ms(name, boundary)
    medians = np.asarray(list(measured.round_medians_ms(name, boundary).values()))
    tails = tails and len(medians) >= FIRST_LOOK
    percentiles = [percentile(samples, quantile) for quantile in PERCENTILES]
    records = [
        PercentileRecord(
            quantile=p.quantile,
            value_ms=p.value if tails or p.quantile == 0.5 else None,
            upper_ms=p.upper if tails or p.quantile == 0.5 else None,
            floor=p.floor,
        )
        for p in percentiles
    ]
    p50, p99 = float(np.median(medians)), next(r.value_ms for r in records if r.quantile == 0.99)
    return Latency(
        samples=samples.size,
        rounds=len(medians),
        p50_ms=p50,
        round_median_low_ms=float(medians.min()),
        round_median_high_ms=float(medians.max()),
        max_ms=float(samples.max()),
        percentiles=records,
        deadlines=[_misses(samples, deadline) for deadline in deadlines_ms] if tails else [],
        jitter_ms=p99 - p50 if p99 is not None else None,
        outliers=tukey_outliers(samples),
        round_spread=relative_iqr(medians),
    )


def launches_of(session: Session, name: str, reference: str, verdict: Quality) -> list[LaunchRecord] | None:
    """One record for each launch that was held; None where only one was planned."""
    if session.launches == 1:
        return None
    records = []
    for launch in sorted({visit.launch for visit in session.measured.visits[name]}):
        seen = session.measured.of_launch(launch)
        logs = log_ratios(*seen.paired_ms(reference, name))
        shown = verdict.speed_up and name != reference and len(logs) > 0
        medians = list(seen.round_medians_ms(name).values())
        ratio = float(np.exp(np.median(logs))) if shown else None
        records.append(LaunchRecord(p50_ms=float(np.median(medians)), speed_up=ratio))
    return records


def sample_arrays(measured: Measured, rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    """What ``samples.npz`` holds: for each row and boundary its latencies, with launch, round and place in its order.

    ``ID|BOUNDARY|samples_ms``, ``…|launch``, ``…|round`` and ``…|position`` have one length; rounds are counted on
    over launches.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for row in rows:
        for boundary in row.latency:
            visits = [v for v in measured.visits[row.id] if boundary in v.samples_ms]
            counts = [len(v.samples_ms[boundary]) for v in visits]
            key = f"{row.id}|{boundary}|"
            arrays[key + "samples_ms"] = measured.samples_ms(row.id, boundary)
            arrays[key + "launch"] = np.repeat([v.launch for v in visits], counts)
            arrays[key + "round"] = np.repeat([v.round for v in visits], counts)
            arrays[key + "position"] = np.repeat([v.position for v in visits], counts)
    return arrays


def ratio_record(ratio: Ratio | None) -> RatioRecord | None:
    """As the result has it."""
    return RatioRecord(**asdict(ratio)) if ratio is not None else None


def _speed_up(ratio: Ratio | None, control: Ratio | None) -> SpeedUp | None:
    if ratio is None or control is None:
        return None
    return SpeedUp(**asdict(ratio), same=same_as_reference(ratio, control))


def _misses(samples: Any, deadline_ms: float) -> MissesRecord:
    found = deadline_misses(samples, deadline_ms)
    return MissesRecord(deadline_ms=deadline_ms, missed=found.missed, rate=found.rate, low=found.low, high=found.high)


def _no_pass(seen: Any, fault: str | None, verdict: Quality) -> str | None:
    """Why a pass that every benchmark makes has brought nothing."""
    if seen:
        return None
    return fault or ("not measured" if verdict.timing else "not measured: the row is invalid")


def _no_energy(entry: Entry, verdict: Quality) -> str | None:
    if not verdict.timing:
        return "not measured: the row is invalid"
    return None if entry.energy else entry.energy_reason or "--energy measures it"


def _warm_up(entry: Entry) -> WarmUpRecord | None:
    if entry.warm_up is None or entry.warm_up.state == "warming":
        return None
    return WarmUpRecord(
        state=entry.warm_up.state, seconds=entry.warm_up.seconds, windows_ms=list(entry.warm_up.windows_ms)
    )


def _cold_start(entry: Entry) -> ColdStart | None:
    starts = [entry.loaded, *entry.cold] if entry.loaded is not None else []
    if not starts:
        return None
    return ColdStart(
        processes=len(starts),
        import_ms=[of.import_s * 1e3 for of in starts],
        load_ms=[of.load_s * 1e3 for of in starts],
        first_ms=[of.first_ms for of in starts],
    )


def _memory(entry: Entry) -> Memory | None:
    if entry.loaded is None:
        return None
    seen: Mapping[str, Any] = finite_or_none(dict(entry.loaded.memory_mib))
    if any(value is None for value in seen.values()):
        return None
    return Memory(
        after_import_mib=seen["after_import"],
        peak_after_load_mib=seen["peak_after_load"],
        peak_after_first_mib=seen["peak_after_first"],
        peak_mib=entry.memory_mib.get("peak"),
    )
