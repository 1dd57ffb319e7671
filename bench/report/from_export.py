"""The manifest, the first table, evaluations and a comparison in the words of ``subject``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report.clean import clean
from bench.report.devices.from_reports import told_of
from bench.report.from_result import bench_of
from bench.report.records import SIMULATED, AccuracyFile, ComparisonFile, Evaluated, FirstTableRow
from bench.report.sources import Sources, read_sources
from bench.report.subject import (
    Accuracy,
    Evaluation,
    FieldVerdict,
    File,
    FirstLook,
    Gate,
    GateCell,
    Interval,
    ParityResult,
    SpeedUp,
    Subject,
)
from export.joint_sets import joint_set
from export.manifest import Artifact


def read_subject(folder: Path, gate: Path | None = None, reports: Sequence[Path] = ()) -> Subject:
    """All that is known of the model in ``folder``, in text that can be shown; ``reports``: of devices.

    Raises:
        BadInput: as ``bench.report.sources.read_sources`` says.
    """
    subject: Subject = clean(subject_of(read_sources(folder, gate, reports)))
    return subject


def subject_of(sources: Sources) -> Subject:
    """The same from what was read."""
    manifest, first, result = sources.manifest, sources.first_table, sources.result
    files = tuple(_file(artifact) for artifact in manifest.artifacts)
    joints = joint_set(manifest.architecture.joints)
    accuracy: dict[str | None, list[Accuracy]] = {}
    for record in sources.accuracy:
        for row in (of for of in record.contenders if of.runtime != SIMULATED):
            accuracy.setdefault(row.sha256, []).append(_accuracy(record, row))
    build_s = {file.sha256: file.build_s for file in files if file.build_s is not None}
    return Subject(
        folder=str(sources.folder),
        model=manifest.model,
        weights=manifest.weights.origin,
        weights_path=manifest.weights.path,
        weights_sha256=manifest.weights.sha256,
        parameters=manifest.counts.parameters,
        macs=manifest.counts.macs,
        joint_names=joints.joints,
        bones=joints.bones,
        verdict=tuple(FieldVerdict(**row.model_dump()) for row in manifest.verdict),
        files=files,
        not_made=tuple((f"{of.precision} {of.kind}", f"{of.status}: {of.reason}") for of in manifest.not_run),
        parity=tuple(_parity(of) for of in manifest.parity),
        tools=manifest.tools,
        first_look=tuple(_first_look(row) for row in first.rows if row.latency_ms is not None) if first else (),
        machine=f"{first.machine.cpu}, {first.machine.cores} cores" if first else None,
        bench=bench_of(result, sources.samples, accuracy, build_s) if result else None,
        evaluations=tuple(_evaluation(record) for record in sources.accuracy),
        gate=_gate(sources.gate) if sources.gate else None,
        on_devices=told_of(sources.devices, accuracy, {file.sha256: file.size_bytes for file in files}),
        runs=sources.runs,
    )


def _file(artifact: Artifact) -> File:
    named = artifact.model_dump(include={"kind", "runtime", "precision", "path", "sha256", "size_bytes", "status"})
    return File(**named, build_s=artifact.details.get("build_seconds"))


def _parity(of: Mapping[str, Any]) -> ParityResult:
    seen, images = of["candidate"], of["images"]
    return ParityResult(
        edition=of.get("edition") or of["precision"],
        file=of["artifact"],
        outcome=of["outcome"],
        status=of.get("status", of["outcome"]),
        reason=of["reason"],
        run_by=of["runtime"],
        images=f"{images['count']} {images['source']}",
        mean_mm=seen["mean_mm"],
        p99_mm=seen["p99_mm"],
        max_mm=seen["max_mm"],
        worst_joint=of["worst_joint_name"],
        joints_mm=tuple(of["per_joint_max_mm"]),
        not_run=tuple((f"parity of {of['precision']} by {no['runner']}", no["reason"]) for no in of["not_run"]),
    )


def _first_look(row: FirstTableRow) -> FirstLook:
    assert row.latency_ms is not None
    ratio = None
    if row.speed_up is not None and row.speed_up_low is not None and row.speed_up_high is not None:
        ratio = SpeedUp(row.speed_up, row.speed_up_low, row.speed_up_high)
    return FirstLook(row.runtime, row.precision, row.threads, row.latency_ms, ratio)


def _accuracy(record: AccuracyFile, row: Evaluated) -> Accuracy:
    price = Interval(row.price_mm.mean, row.price_mm.low, row.price_mm.high) if row.price_mm else None
    return Accuracy(record.dataset.name, record.dataset.samples, row.run_by, row.mpjpe_mm, price)


def _evaluation(record: AccuracyFile) -> Evaluation:
    rows = tuple((row.name, _accuracy(record, row)) for row in record.contenders)
    return Evaluation(record.dataset.name, record.dataset.samples, rows)


def _gate(record: ComparisonFile) -> Gate:
    cells = tuple(
        GateCell(
            id=cell.id,
            outcome=cell.outcome,
            reasons=tuple(cell.reasons),
            slowdown=SpeedUp(**cell.slowdown.model_dump()) if cell.slowdown else None,
            allowed=cell.allowed,
        )
        for cell in record.cells
    )
    return Gate(record.mode, record.outcome, cells, tuple(record.reasons), record.complete)
