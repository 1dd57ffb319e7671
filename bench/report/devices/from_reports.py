"""Devices' own reports, as a bundle's verifier writes them, in the words of ``told``."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench import device_report
from bench.device_report import DeviceReport
from bench.report import theme
from bench.report.clean import clean
from bench.report.devices.belongs import USUAL_NAME, Named, require_alike
from bench.report.devices.settings import in_words
from bench.report.devices.told import Device, Devices, Told
from bench.report.from_result import AccuracyOf
from bench.report.subject import HEADLINE, Accuracy, Drift, Row, SpeedUp, Tail, Timing
from bench.statistics import Ratio, speed_up
from bench.verdicts import PRECISE, USABLE

NO_CONTROL = "the bundle's verifier times no second reference, so none of its rows is called stable"
NOT_TIMED = "latency was left out (verify.py --seconds 0)"
NO_REFERENCE = "no FP32 row was timed to take a ratio over"
ONNX_RUNTIME_FP32 = "onnxruntime fp32"
REFERENCES = ("onnxruntime", "openvino", "tensorrt", "tensorrt-rtx")
"""Whose FP32 row speed-ups are over: the first of them that was timed on the device."""


def reference_of(told: Sequence[Told]) -> str:
    """What their speed-ups are over, in words; there is no PyTorch on a device."""
    first = "the FP32 row of ONNX Runtime on the same device, in the same rounds"
    others = [
        f"{one.reference or 'nothing'} on {one.device.name}" for one in told if one.reference != ONNX_RUNTIME_FP32
    ]
    return f"{first}; where that was not timed, over {', '.join(dict.fromkeys(others))}" if others else first


def devices_of(named: Sequence[Named]) -> Devices:
    """What stands on one page.

    Raises:
        BadInput: two reports of one model are of different weights or files.
    """
    first: dict[str, Named] = {}
    for path, report in named:
        base = first.setdefault(report.bundle.model, (path, report))
        require_alike(*base, path, report)
    told = told_of(named)
    models = ", ".join(first)
    bundles = dict.fromkeys((report.bundle.model, report.bundle.id) for _, report in named)
    found: Devices = clean(
        Devices(
            title=f"{models} on {_counted([one.device.name for one in told])}",
            subtitle=f"as bundles' own verifiers reported: {', '.join(str(path) for path, _ in named)}",
            told=told,
            reference=reference_of(told),
            notices=_one_machine(named, told),
            commands=(
                *(f"python3 verify.py --expect {identity}  # in {model}-bundle" for model, identity in bundles),
                shlex.join(["convnextpose", "report", *(str(path) for path, _ in named)]),
            ),
        )
    )
    return found


def _one_machine(named: Sequence[Named], told: Sequence[Told]) -> tuple[str, ...]:
    """A machine that was verified twice is no second device."""
    names: dict[device_report.Device, dict[str, None]] = {}
    for (_, report), one in zip(named, told, strict=True):
        names.setdefault(report.device, {})[one.device.name] = None
    alike = [list(of) for of in names.values() if len(of) > 1]
    return tuple(f"{' and '.join(of)} say the same of themselves: they may be one machine" for of in alike)


def _counted(names: Sequence[str]) -> str:
    return names[0] if len(set(names)) == 1 else f"{len(set(names))} devices"


def told_of(
    named: Sequence[Named],
    accuracy: AccuracyOf | None = None,
    size_bytes: Mapping[str, int] | None = None,
) -> tuple[Told, ...]:
    """Each report's rows; where the export is at hand, with its evaluations and sizes, by a file's sha256."""
    names = [_name(path, report) for path, report in named]
    counts = Counter((name, report.bundle.model) for name, (_, report) in zip(names, named, strict=True))
    facts: dict[str, device_report.Device] = {}
    told = []
    for name, (path, report) in zip(names, named, strict=True):
        same = facts.setdefault(name, report.device) == report.device and counts[name, report.bundle.model] == 1
        called = name if same else f"{name} ({path})"
        told.append(_told(called, path, report, accuracy or {}, size_bytes or {}))
    return tuple(told)


def _told(
    name: str,
    path: Path,
    report: DeviceReport,
    accuracy: AccuracyOf,
    size_bytes: Mapping[str, int],
) -> Told:
    timed = {row_name(row): row for row in report.results if row.latency and row.status == "pass"}
    reference = next((of for runtime in REFERENCES if (of := f"{runtime} fp32") in timed), None)
    base = timed[reference].latency if reference else None
    ran = [row for row in report.results if row.status != "not run"]
    rows = [_row(row, report, base, reference) for row in ran]
    sized = [(row, accuracy.get(row.file_sha256 or "", ()), size_bytes.get(row.file_sha256 or "")) for row in rows]
    return Told(
        device=Device(name, report.device.board or "", _about(report)),
        model=report.bundle.model,
        source=str(path),
        weights=report.bundle.weights_origin,
        rows=tuple(theme.ordered(_with(row, found, size) for row, found, size in sized)),
        not_run=tuple((row_name(of), of.reason) for of in report.results if of.status == "not run"),
        reference=reference,
        remarks=() if report.protocol else (("latency", NOT_TIMED),),
        command=f"python3 verify.py --expect {report.bundle.id}",
    )


def runtime_of(row: device_report.Row) -> str:
    """As this project calls it: the verifier says what Python's module is called."""
    return row.runtime.replace("_", "-")


def row_name(row: device_report.Row) -> str:
    """``tensorrt-rtx fp16``."""
    return f"{runtime_of(row)} {row.precision}"


def _with(row: Row, accuracy: Sequence[Accuracy], size_bytes: int | None) -> Row:
    same = tuple(of for of in accuracy if of.run_by.split()[0] == row.runtime)
    return replace(row, accuracy=same or tuple(accuracy), file_bytes=size_bytes)


def _row(of: device_report.Row, report: DeviceReport, base: device_report.Latency | None, reference: str | None) -> Row:
    runtime, drift = runtime_of(of), None
    if of.parity is not None:
        seen = of.parity
        drift = Drift(seen.outcome, seen.outcome, seen.reason, seen.mean_mm, seen.max_mm, seen.images)
    found = Row(
        id=f"{runtime}/{of.precision}",
        runtime=runtime,
        precision=of.precision,
        computes=of.computes_in if of.computes_in != of.precision else None,
        is_reference=row_name(of) == reference,
        verdict="invalid",
        reasons=(f"{of.status}: {of.reason}",),
        drift=drift,
        file=of.artifact,
        file_sha256=of.artifact_sha256,
    )
    return found if of.status != "pass" else _timed(found, of.latency, report, base)


def _timed(
    row: Row, latency: device_report.Latency | None, report: DeviceReport, base: device_report.Latency | None
) -> Row:
    if latency is None or report.protocol is None:
        return replace(row, verdict="unstable", reasons=(NOT_TIMED,))
    medians = [float(np.median(of)) for of in latency.rounds_ms]
    floors, tails = report.protocol.floors, ((0.9, "p90", latency.p90_ms), (0.99, "p99", latency.p99_ms))
    timing = Timing(
        boundary=HEADLINE,
        samples=latency.samples,
        rounds=latency.rounds,
        p50_ms=latency.p50_ms,
        low_ms=min(medians),
        high_ms=max(medians),
        tails=tuple(Tail(of, value, None, floors.get(name, 0)) for of, name, value in tails),
        misses=(),
    )
    row = replace(row, timings={HEADLINE: timing})
    if row.is_reference or base is None:
        return replace(row, verdict="noisy", reasons=(NO_CONTROL, *(() if base else (NO_REFERENCE,))))
    count = min(base.rounds, latency.rounds)
    ratio = speed_up([float(np.median(of)) for of in base.rounds_ms[:count]], medians[:count])
    wrong = _unstable(ratio)
    if wrong is not None or ratio is None:
        return replace(row, verdict="unstable", reasons=(wrong or "",))
    known = f"the ratio is known to ±{ratio.half_width:.1%}"
    reasons = (*([known] if not ratio.half_width <= PRECISE else []), NO_CONTROL)
    same = ratio.contains_one
    return replace(row, verdict="noisy", reasons=reasons, speed_up=SpeedUp(ratio.median, ratio.low, ratio.high, same))


def _unstable(ratio: Ratio | None) -> str | None:
    if ratio is None:
        return "too few rounds for an interval"
    return None if ratio.half_width <= USABLE else f"the ratio is known to ±{ratio.half_width:.2%} only"


def _name(path: Path, report: DeviceReport) -> str:
    """What the user called the file; if it has the name that the verifier gives, what the device calls itself."""
    if path.stem != USUAL_NAME:
        return path.stem
    of = report.device
    return of.board or (of.gpu.name if of.gpu else None) or of.processor or of.machine


def _about(report: DeviceReport) -> tuple[tuple[str, str], ...]:
    of, protocol = report.device, report.protocol
    gpu = f"{of.gpu.name}, compute capability {of.gpu.compute_capability}" if of.gpu else f"none: {of.no_gpu or ''}"
    known: dict[str, str | None] = {
        "board": of.board,
        "L4T": of.l4t,
        "processor": of.processor or "not told",
        "memory": f"{of.memory_bytes / 2**30:.1f} GiB" if of.memory_bytes else None,
        "GPU": gpu,
        **in_words(report),
        "system": f"{of.system} {of.kernel} {of.machine}",
        "measured": f"{report.created}, {protocol.rounds} rounds at most"
        if protocol
        else f"{report.created}, parity alone",
        "bundle": report.bundle.id,
        "goldens": report.bundle.golden_source,
        **{("Python" if name == "python" else name): version for name, version in report.versions.items()},
    }
    return tuple((name, value) for name, value in known.items() if value)
