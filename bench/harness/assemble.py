"""Rows of a result from the measurements of a benchmark: pure functions."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness.candidates import Candidate
from bench.harness.measurements import Measurements, WorkloadRecord
from bench.harness.rounds import Rounds
from bench.harness.workload import CONTROL, HOST_E2E
from bench.machine.environment import share_with, steal_share
from bench.results.profile_record import NO_PROFILE, profile_record
from bench.results.result import (
    ColdStart,
    Energy,
    ImageToJoints,
    Latency,
    LaunchRecord,
    Memory,
    Row,
    SpeedUp,
    ThroughputPoint,
)
from bench.sessions.exported import TORCH_FORMS
from bench.stats.quality import Evidence, Quality, assess, same_as_reference
from bench.stats.statistics import (
    PERCENTILES,
    Ratio,
    deadline_misses,
    log_ratios,
    percentile,
    relative_iqr,
    shift,
)
from bench.stats.stopping import FIRST_LOOK
from export.common.plain import finite_or_none
from export.model.architecture import Architecture

INVALID = "not measured: the row is invalid"
NO_ENERGY = "--energy measures it"
"""Reason if energy was not requested."""


def assess_row(name: str, measurements: Measurements, reference: str, control: Ratio | None) -> Quality:
    """Assess the quality of one row; the reference's rests on its control."""
    rounds, record = measurements.rounds, measurements.records[name]
    faults = tuple(record.faults)
    if not faults and not rounds.blocks[name]:
        faults = ("not measured" if measurements.complete else "not measured: the run was interrupted",)
    medians_ms = list(rounds.round_medians_ms(name).values())
    evidence = Evidence(
        faults=faults,
        ratio=control if name == reference else rounds.ratio(reference, name),
        control=control,
        control_faults=_reference_faults(measurements.records[reference + CONTROL]),
        reference_faults=() if name == reference else _reference_faults(measurements.records[reference]),
        control_shift=_ratio_shift(rounds, reference, reference + CONTROL),
        spread=relative_iqr(medians_ms) if medians_ms else 0.0,
        shift=_ratio_shift(rounds, reference, name),
        steal=steal_share(rounds.sensors),
        throttled=share_with(rounds.sensors, "throttled"),
        power_capped=share_with(rounds.sensors, "power_capped"),
        steady=record.warm_up is None or record.warm_up.state == "steady",
    )
    return assess(evidence)


def _reference_faults(record: WorkloadRecord) -> tuple[str, ...]:
    """Return why an instance of the reference is none: its faults, or an unsteady warm-up."""
    faults = [*record.faults, *([record.not_possible] if record.not_possible else [])]
    if record.warm_up is not None and record.warm_up.state != "steady":
        faults.append("warming up did not end in a steady state")
    return tuple(faults)


def _ratio_shift(rounds: Rounds, reference: str, name: str) -> float:
    logs = log_ratios(*rounds.paired_ms(reference, name))
    return shift(logs) if len(logs) else 0.0


def row_of(
    candidate: Candidate,
    measurements: Measurements,
    reference: str,
    control: Ratio | None,
    deadlines_ms: Sequence[float],
) -> Row:
    """Return the row of one candidate, with the figures that its quality allows and no others."""
    rounds, name = measurements.rounds, candidate.id
    record = measurements.records[name]
    quality = assess_row(name, measurements, reference, control)
    loaded, artifact = record.loaded, candidate.artifact
    facts = dict(loaded.facts) if loaded else {}
    ratio, speed_up = rounds.ratio(reference, name), None
    if ratio is not None and control is not None and quality.speed_up and name != reference:
        speed_up = SpeedUp(**asdict(ratio), same=same_as_reference(ratio, control))
    latency = {}
    if quality.timing and loaded is not None:
        for boundary in loaded.boundaries:
            latency[boundary] = latency_of(rounds, name, boundary, deadlines_ms, tails=quality.speed_up)
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
        verdict=quality.name,
        reasons=list(quality.reasons),
        parity=dict(record.parity) if record.parity is not None else None,
        latency=latency,
        speed_up=speed_up,
        launches=launches_of(measurements, name, reference, quality) if quality.timing else None,
        warm_up=record.warm_up if quality.timing else None,
        cold_start=_cold_start(record) if quality.timing else None,
        memory=_memory(record),
        image_to_joints=ImageToJoints.model_validate(record.image_to_joints) if record.image_to_joints else None,
        image_to_joints_reason=_no_pass(record.image_to_joints, record.image_fault, quality),
        throughput=[ThroughputPoint.model_validate(p) for p in record.throughput] if record.throughput else None,
        throughput_reason=_no_pass(record.throughput, record.throughput_fault, quality),
        profile=None,
        profile_reason=NO_PROFILE,
        energy=Energy.model_validate(record.energy) if record.energy and quality.timing else None,
        energy_reason=_no_energy(record, quality),
        facts=finite_or_none(facts),
        description=loaded.description if loaded else None,
    )


def add_profile(row: Row, measurements: Measurements, architecture: Architecture) -> Row:
    """Return the row with its profile, or with the reason why there is none."""
    record, headline = measurements.records[row.id], row.latency.get(HOST_E2E)
    if record.profile is None or headline is None:
        nothing = f"{row.verdict}: nothing was timed to compare it with" if measurements.complete else "interrupted"
        return row.model_copy(update={"profile_reason": record.profile_reason or nothing})
    graph = architecture.layers() if row.runtime in TORCH_FORMS else architecture.deployed_layers()
    profile = profile_record(record.profile, graph, headline.p50_ms)
    return row.model_copy(update={"profile": profile, "profile_reason": None})


def latency_of(rounds: Rounds, name: str, boundary: str, deadlines_ms: Sequence[float], *, tails: bool) -> Latency:
    """Return one boundary's figures.

    Percentiles above the median, and missed deadlines, need enough samples and enough rounds: their intervals assume
    independent samples, and those of a few rounds are not.
    """
    samples_ms = rounds.samples_ms(name, boundary)
    medians_ms = np.asarray(list(rounds.round_medians_ms(name, boundary).values()))
    tails = tails and len(medians_ms) >= FIRST_LOOK
    percentiles = [percentile(samples_ms, quantile) for quantile in PERCENTILES]
    if not tails:
        percentiles = [p if p.quantile == 0.5 else replace(p, value_ms=None, upper_ms=None) for p in percentiles]
    return Latency(
        samples=samples_ms.size,
        rounds=len(medians_ms),
        p50_ms=float(np.median(medians_ms)),
        round_median_low_ms=float(medians_ms.min()),
        round_median_high_ms=float(medians_ms.max()),
        max_ms=float(samples_ms.max()),
        percentiles=percentiles,
        deadlines=[deadline_misses(samples_ms, deadline_ms) for deadline_ms in deadlines_ms] if tails else [],
    )


def launches_of(measurements: Measurements, name: str, reference: str, quality: Quality) -> list[LaunchRecord] | None:
    """Return one record for each launch so far; None if only one was planned."""
    if measurements.launches == 1:
        return None
    records = []
    for launch in sorted({block.launch for block in measurements.rounds.blocks[name]}):
        rounds = measurements.rounds.of_launch(launch)
        logs = log_ratios(*rounds.paired_ms(reference, name))
        has_ratio = quality.speed_up and name != reference and len(logs) > 0
        p50_ms = float(np.median(list(rounds.round_medians_ms(name).values())))
        records.append(LaunchRecord(p50_ms=p50_ms, speed_up=float(np.exp(np.median(logs))) if has_ratio else None))
    return records


def sample_arrays(rounds: Rounds, rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    """Return the arrays of ``samples.npz``: latencies of each row and boundary, with launch, round and position.

    ``ID|BOUNDARY|samples_ms``, ``…|launch``, ``…|round`` and ``…|position`` have one length; rounds are counted on
    over launches.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for row in rows:
        for boundary in row.latency:
            blocks = [block for block in rounds.blocks[row.id] if boundary in block.samples_ms]
            counts = [len(block.samples_ms[boundary]) for block in blocks]
            key = f"{row.id}|{boundary}|"
            arrays[key + "samples_ms"] = rounds.samples_ms(row.id, boundary)
            for field in ("launch", "round", "position"):
                arrays[key + field] = np.repeat([getattr(block, field) for block in blocks], counts)
    return arrays


def _no_pass(figures: Any, fault: str | None, quality: Quality) -> str | None:
    """Return why a pass that every benchmark runs has no figures."""
    if figures:
        return None
    return fault or ("not measured" if quality.timing else INVALID)


def _no_energy(record: WorkloadRecord, quality: Quality) -> str | None:
    if not quality.timing:
        return INVALID
    return None if record.energy else record.energy_reason or NO_ENERGY


def _cold_start(record: WorkloadRecord) -> ColdStart | None:
    if record.loaded is None:
        return None
    starts = [record.loaded, *record.cold]
    return ColdStart(
        processes=len(starts),
        import_ms=[start.import_s * 1e3 for start in starts],
        load_ms=[start.load_s * 1e3 for start in starts],
        first_ms=[start.first_ms for start in starts],
    )


def _memory(record: WorkloadRecord) -> Memory | None:
    peak_mib = finite_or_none(record.memory_mib.get("peak"))
    return None if peak_mib is None else Memory(peak_mib=peak_mib)
