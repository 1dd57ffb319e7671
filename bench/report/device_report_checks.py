"""Checks of a device report: that it does not contradict itself, and that it is of the export shown with it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.report.sources import DEVICE_REPORT
from bench.results.device_report import DeviceReport, Row, read_device_report
from export.common.errors import BadInput
from export.common.files import sha256_file
from export.pipeline.layout import MANIFEST
from export.pipeline.manifest import Manifest, read_manifest

ROUNDING_MS = 2e-6
"""Samples are written with six digits, the median is taken before."""

DEVICES = "devices"
"""The folder of an export into which a user puts device reports."""

NamedReport = tuple[Path, DeviceReport]


def read_reports(paths: Sequence[Path]) -> list[NamedReport]:
    """Read device reports, each by itself.

    Raises:
        BadInput: one is missing, is no device report, has another schema version, or contradicts itself.
    """
    reports = []
    for path in dict.fromkeys(paths):
        report = read_device_report(path)
        require_consistent(path, report)
        reports.append((path, report))
    return reports


def require_consistent(path: Path, report: DeviceReport) -> None:
    """Check that the conclusions of a report follow from the samples and errors in it.

    Raises:
        BadInput: they do not; the file was changed.
    """
    advice = "get it from the device once more, or verify there again: python3 verify.py"
    for row in report.results:
        for wrong in (_wrong_parity(row), _wrong_latency(row)):
            if wrong is not None:
                raise BadInput(f"{path} contradicts itself", f"{row.runtime} {row.precision}: {wrong}", advice)


def require_of_export(path: Path, report: DeviceReport, manifest: Manifest) -> None:
    """Check that the bundle that was verified is of this export.

    Raises:
        BadInput: the model, the weights or a file differ.
    """
    advice = "verify a bundle of this export on the device, or name the report without the export's folder"
    about = report.bundle
    if about.model != manifest.model:
        raise BadInput(f"{path} is of another model", f"{about.model}, and {manifest.model} in the manifest", advice)
    if about.weights_sha256 != manifest.weights.sha256:
        detail = f"sha256 {about.weights_sha256[:12]}, and {manifest.weights.sha256[:12]} in the manifest"
        raise BadInput(f"{path} is of other weights than the export", detail, advice)
    known = {artifact.path: artifact.sha256 for artifact in manifest.artifacts}
    for file, sha256 in _files(report):
        if (file in known or file.startswith("onnx/")) and known.get(file) != sha256:
            detail = f"{file}: {sha256[:12]} was run, {(known.get(file) or 'no such file')[:12]} is in the manifest"
            raise BadInput(f"{path} was taken on other files than those of the export", detail, advice)


def require_of_place(path: Path, report: DeviceReport) -> None:
    """Check that a report is of the export in whose ``devices`` it lies, or of the bundle that it lies in.

    Raises:
        BadInput: it is not.
    """
    export, bundle = path.parent.parent / MANIFEST, path.parent / MANIFEST
    if path.parent.name == DEVICES and export.is_file():
        require_of_export(path, report, read_manifest(export))
    elif bundle.is_file() and path.name == DEVICE_REPORT and sha256_file(bundle) != report.bundle.id:
        detail = f"id {report.bundle.id[:12]}, and {sha256_file(bundle)[:12]} is the manifest's"
        raise BadInput(f"{path} is of another bundle than the one that it lies in", detail, "verify there again")


def require_alike(first: Path, base: DeviceReport, path: Path, report: DeviceReport) -> None:
    """Check that two reports of one model are of the same weights and files.

    Raises:
        BadInput: they are not, and must not stand in one table.
    """
    advice = "name them one by one, or verify one bundle on both devices"
    expected, actual = base.bundle.weights_sha256, report.bundle.weights_sha256
    if expected != actual:
        detail = f"{base.bundle.model}: weights {expected[:12]}, {actual[:12]}"
        raise BadInput(f"{first} and {path} are of different weights", detail, advice)
    files = dict(_files(base))
    for file, sha256 in _files(report):
        if file.startswith("onnx/") and files.get(file, sha256) != sha256:
            detail = f"{file}: {files[file][:12]}, {sha256[:12]}"
            raise BadInput(f"{first} and {path} were taken on different files", detail, advice)


def _files(report: DeviceReport) -> list[tuple[str, str]]:
    """Return the file of every row, with its hash."""
    return [(row.artifact, row.artifact_sha256) for row in report.results if row.artifact and row.artifact_sha256]


def _wrong_parity(row: Row) -> str | None:
    parity = row.parity
    if parity is None:
        return "it passed, but holds no parity" if row.status == "pass" else None
    if parity.outcome != row.status and row.status != "fail":
        return f"status {row.status}, parity {parity.outcome}"
    if parity.outcome != "pass":
        return None
    for limit in parity.limits:
        error_mm = {"mean": parity.mean_mm, "p99": parity.p99_mm, "max": parity.max_mm}[limit.statistic]
        if error_mm is None or not error_mm <= limit.allowed_mm:
            return f"parity passed with {limit.statistic} {error_mm} mm, allowed {limit.allowed_mm:g}"
    return None


def _wrong_latency(row: Row) -> str | None:
    latency = row.latency
    if latency is None:
        return None
    samples = [sample for samples in latency.rounds_ms for sample in samples]
    counted = f"{len(samples)} samples in {len(latency.rounds_ms)} rounds"
    stated_count = f"{latency.samples} samples in {latency.rounds} rounds"
    if stated_count != counted or not samples:
        return f"{stated_count}, the file has {counted}"
    if not np.isfinite(samples).all() or not min(samples) > 0:
        return "a latency is not a positive number"
    for name, quantile, stated in (
        ("p50", 0.5, latency.p50_ms),
        ("p90", 0.9, latency.p90_ms),
        ("p99", 0.99, latency.p99_ms),
    ):
        value = float(np.quantile(samples, quantile, method="inverted_cdf"))
        if stated is not None and not abs(stated - value) <= ROUNDING_MS:
            return f"{name} {stated:.6g} ms, its samples say {value:.6g}"
    return None
