"""Measurements from device reports: the rows that a bundle's verifier wrote become rows of ``bench.results.result``."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bench.accuracy.record import Evaluation
from bench.report.device_facts import facts_of_report
from bench.report.device_report_checks import NamedReport
from bench.report.measurement import Measurement
from bench.report.rows import HEADLINE, with_trusted_speed_ups
from bench.report.sources import DEVICE_REPORT
from bench.results import device_report
from bench.results.device_report import DeviceReport
from bench.results.result import Latency, NotRunRow, Row, SpeedUp
from bench.stats.quality import PRECISE, USABLE
from bench.stats.statistics import Percentile, speed_up
from export.common.plain import group_names

NO_CONTROL = "the bundle's verifier times no second reference, so no row is called stable"
NOT_TIMED = "latency was left out (verify.py --seconds 0)"
REFERENCES = ("onnxruntime", "openvino", "tensorrt", "tensorrt-rtx")
"""Speed-ups are over the FP32 row of the first of them that was timed on the device: there is no PyTorch."""


def measurements_of(
    reports: Sequence[NamedReport], evaluations: Sequence[Evaluation] = (), size_bytes: Mapping[str, int] | None = None
) -> list[Measurement]:
    """Return a measurement for each report."""
    names = _names(reports)
    return [
        _measurement(name, path, report, tuple(evaluations), size_bytes or {})
        for name, (path, report) in zip(names, reports, strict=True)
    ]


def same_machine(reports: Sequence[NamedReport], measurements: Sequence[Measurement]) -> list[str]:
    """Say which reports may be of one machine: it is no second device."""
    names = group_names((m.device, report.device) for (_, report), m in zip(reports, measurements, strict=True))
    alike = [" and ".join(devices) for devices in names.values() if len(devices) > 1]
    return [f"{devices} have the same hardware and system: they may be one machine" for devices in alike]


def _names(reports: Sequence[NamedReport]) -> list[str]:
    """Return a name for each: the file's, or, if that is the usual one, what the device calls itself."""
    names = []
    for path, report in reports:
        device = report.device
        own = device.board or (device.gpu.name if device.gpu else None) or device.processor or device.machine
        names.append(own if path.name == DEVICE_REPORT else path.stem)
    counts = Counter((name, report.bundle.model) for name, (_, report) in zip(names, reports, strict=True))
    several = {name for (name, _), count in counts.items() if count > 1}
    return [f"{name} ({path})" if name in several else name for name, (path, _) in zip(names, reports, strict=True)]


def _measurement(
    name: str, path: Path, report: DeviceReport, evaluations: tuple[Evaluation, ...], size_bytes: Mapping[str, int]
) -> Measurement:
    timed = {_row_name(result): result for result in report.results if result.latency and result.status == "pass"}
    reference = next((result for runtime in REFERENCES if (result := f"{runtime} fp32") in timed), None)
    base = timed[reference].latency if reference else None
    rows = [
        _row(result, report, base, reference, size_bytes) for result in report.results if result.status != "not run"
    ]
    not_run = [
        NotRunRow(runtime=_runtime(result), precision=result.precision, reason=result.reason)
        for result in report.results
        if result.status == "not run"
    ]
    return Measurement(
        model=report.bundle.model,
        weights=report.bundle.weights_origin,
        source=str(path),
        command=f"python3 verify.py --expect {report.bundle.id}",
        device=name,
        rows=with_trusted_speed_ups(rows),
        not_run=tuple(not_run),
        reference=reference or "nothing: no FP32 row was timed",
        evaluations=evaluations,
        facts=facts_of_report(report),
    )


def _runtime(row: device_report.Row) -> str:
    """Return the runtime's name in this project; the verifier uses the name of the Python module."""
    return row.runtime.replace("_", "-")


def _row_name(row: device_report.Row) -> str:
    return f"{_runtime(row)} {row.precision}"


def _row(
    result: device_report.Row,
    report: DeviceReport,
    base: device_report.Latency | None,
    reference: str | None,
    size_bytes: Mapping[str, int],
) -> Row:
    nothing = dict.fromkeys(name for name, field in Row.model_fields.items() if field.is_required())
    row = Row.model_validate(
        nothing
        | {
            "id": f"{_runtime(result)}/{result.precision}",
            "runtime": _runtime(result),
            "precision": result.precision,
            "precision_used": result.computes_in,
            "batch": 1,
            "threads": result.threads or 0,
            "artifact": result.artifact,
            "artifact_sha256": result.artifact_sha256,
            "artifact_bytes": size_bytes.get(result.artifact_sha256 or ""),
            "is_reference": _row_name(result) == reference,
            "verdict": "invalid",
            "reasons": [f"{result.status}: {result.reason}"],
            "parity": result.parity.model_dump() if result.parity else None,
            "latency": {},
            "facts": {},
        }
    )
    return _timed(row, result.latency, report, base) if result.status == "pass" else row


def _timed(
    row: Row, latency: device_report.Latency | None, report: DeviceReport, base: device_report.Latency | None
) -> Row:
    if latency is None or report.protocol is None:
        return row.model_copy(update={"verdict": "unstable", "reasons": [NOT_TIMED]})
    medians = [float(np.median(samples)) for samples in latency.rounds_ms]
    row = row.model_copy(update={"latency": {HEADLINE: _latency(latency, medians, report.protocol.floors)}})
    if row.is_reference or base is None:
        return row.model_copy(update={"verdict": "noisy", "reasons": [NO_CONTROL]})
    count = min(base.rounds, latency.rounds)
    ratio = speed_up([float(np.median(samples)) for samples in base.rounds_ms[:count]], medians[:count])
    if ratio is None:
        return row.model_copy(update={"verdict": "unstable", "reasons": ["too few rounds for an interval"]})
    known = f"the ratio is known to ±{ratio.half_width:.1%}"
    if not ratio.half_width <= USABLE:
        return row.model_copy(update={"verdict": "unstable", "reasons": [f"{known} only"]})
    reasons = [*([known] if not ratio.half_width <= PRECISE else []), NO_CONTROL]
    up = SpeedUp(**asdict(ratio), same=ratio.contains_one)
    return row.model_copy(update={"verdict": "noisy", "reasons": reasons, "speed_up": up})


def _latency(latency: device_report.Latency, medians: Sequence[float], floors: Mapping[str, int]) -> Latency:
    percentiles = [
        Percentile(quantile, value, upper_ms=None, floor=floors.get(name, 0))
        for quantile, name, value in ((0.9, "p90", latency.p90_ms), (0.99, "p99", latency.p99_ms))
    ]
    return Latency(
        samples=latency.samples,
        rounds=latency.rounds,
        p50_ms=latency.p50_ms,
        round_median_low_ms=min(medians),
        round_median_high_ms=max(medians),
        max_ms=max(max(samples) for samples in latency.rounds_ms),
        percentiles=percentiles,
        deadlines=[],
    )
