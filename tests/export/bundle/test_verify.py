"""The verifier on a whole bundle: its report, its options, its outcomes."""

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest
from pose_runtime import BadInput
from pose_runtime.bundle import Bundle
from pose_verify.table import print_report
from pose_verify.verification import overall_outcome

from bench.results.device_report import read_device_report
from tests.support.bundles import change_manifest, run_here, verify
from tests.support.command_line import assert_three_parts


def test_a_whole_bundle_passes_and_is_reported(bundle: Path) -> None:
    run = verify(bundle, "--seconds", 1)
    assert run.returncode == 0, run.stdout + run.stderr
    report = read_device_report(bundle / "device-report.json")
    cores = len(os.sched_getaffinity(0))
    assert report.bundle.id == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert report.outcome == "pass"
    rows = {(row.runtime, row.precision): row for row in report.results}
    assert len(rows) == 16
    for (runtime, precision), row in rows.items():
        if runtime.startswith("tensorrt") or (runtime, precision) == ("onnxruntime", "bf16"):
            assert (row.status, row.parity, row.latency) == ("not run", None, None)
            assert row.reason
            continue
        if row.status == "not run":
            assert (runtime, precision) == ("openvino", "int8")  # a processor whose integer sums saturate
            continue
        assert row.parity is not None
        assert (row.parity.outcome, row.parity.images) == ("pass", 16)
        assert row.computes_in
        assert row.threads == cores
        assert row.artifact_sha256 == Bundle(bundle).onnx(precision)["sha256"]
        assert row.latency is not None
        assert row.latency.rounds >= 3
        assert row.latency.samples == sum(map(len, row.latency.rounds_ms)) == 4 * row.latency.rounds
        assert row.latency.p99_ms is None  # fewer than 662 samples
    assert report.overhead is not None
    assert report.overhead.runtime == "onnxruntime"
    assert report.settings is not None
    assert report.settings.affinity == sorted(os.sched_getaffinity(0))
    assert f"onnxruntime with {cores} thread" in run.stdout
    assert "weights: checkpoint" in run.stdout
    assert verify(bundle, "--hashes-only").returncode == 0  # its own report does not count as added


def test_the_output_fits_a_terminal_of_80_columns(
    device_report: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(device_report.read_text())
    report["results"][-1] |= {"status": "inconclusive", "reason": "a reason of many words " * 20}
    report["overhead"]["share"] = 1.234  # of a busy machine
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    print_report(report, "trained on drawn figures", Path("device-report.json"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 25, lines
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(f"{report['outcome']}: once on ")
    assert any(line.startswith("errors: over 16 images (") for line in lines)
    assert not any(line.startswith("tensorrt fp32") for line in lines)  # what did not run has no figures


def test_only_named_runtimes_and_precisions_run(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere.json"
    run = run_here(
        bundle / "verify.py", "--seconds", 0, "--runtime", "onnxruntime", "--precision", "fp16,fp32", "--out", out
    )
    assert run.returncode == 0, run.stderr
    report = read_device_report(out)
    named = [(row.runtime, row.precision) for row in report.results if row.asked]
    assert named == [("onnxruntime", "fp16"), ("onnxruntime", "fp32")]
    others = [row for row in report.results if not row.asked]
    assert len({(row.runtime, row.precision) for row in others}) == 14
    reason = "not asked for: --runtime onnxruntime --precision fp16,fp32"
    assert {(row.status, row.reason) for row in others} == {("not run", reason)}
    assert f"not run: tensorrt (fp32, fp16, bf16, int8): {reason}" in run.stdout
    assert report.protocol is None
    assert not (bundle / "device-report.json").exists()


def test_the_id_is_the_manifests_hash(bundle: Path) -> None:
    own = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert run_here(bundle / "verify.py", "--id").stdout.strip() == own
    assert run_here(bundle / "verify.py", "--hashes-only", "--expect", own).returncode == 0
    assert run_here(bundle / "verify.py", "--id", "--expect", own).stdout.strip() == own
    for option in ("--hashes-only", "--id"):
        run = run_here(bundle / "verify.py", option, "--expect", "0" * 64)
        assert_three_parts(run, 1)
        assert "not the bundle that was expected" in run.stderr
        assert run.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--runtime", "pytorch"), "pytorch"),
        (("--precision", "fp8"), "fp8"),
        (("--seconds", "nan"), "--seconds nan"),
        (("--threads", "0"), "0 threads"),
        (("--runtime", "onnxruntime", "--no-build"), "--no-build would change nothing"),
        (("--out", "/dev/null"), "no plain file lies there"),
        (("--runtime", "tensorrt,tensorrt_rtx", "--threads", "1"), "--threads would change nothing"),
        (("--id", "--hashes-only"), "--id ends before other options count"),
        (("--hashes-only", "--seconds", "0"), "--seconds"),
        (("--out", "/nowhere/at/all.json"), "cannot write"),
        (("--out", "BUNDLE/manifest.json"), "among the bundle's files"),
    ],
)
def test_wrong_arguments_are_refused(bundle: Path, arguments: tuple[str, ...], message: str) -> None:
    run = run_here(bundle / "verify.py", *(argument.replace("BUNDLE", str(bundle)) for argument in arguments))
    assert_three_parts(run, 2)
    assert message in run.stderr


@pytest.mark.parametrize(
    ("arguments", "missing", "statuses"),
    [
        (("--runtime", "tensorrt"), ["tensorrt"], {"not run"}),
        (("--runtime", "tensorrt,onnxruntime", "--precision", "fp32"), ["tensorrt fp32"], {"not run", "pass"}),
        (("--runtime", "onnxruntime", "--precision", "fp32,bf16"), ["onnxruntime bf16"], {"not run", "pass"}),
        (("--runtime", "onnxruntime"), [], {"not run", "pass"}),  # without BF16, which is not named
    ],
)
def test_named_runtimes_and_precisions_must_run(
    bundle: Path, arguments: tuple[str, ...], missing: list[str], statuses: set[str]
) -> None:
    """There is no GPU here, so that TensorRT cannot run."""
    run = run_here(bundle / "verify.py", "--seconds", 0, *arguments)
    assert run.returncode == (4 if missing else 0), run.stdout + run.stderr
    report = read_device_report(bundle / "device-report.json")
    assert (report.outcome, report.missing) == ("not run" if missing else "pass", missing)
    assert {row.status for row in report.results} == statuses
    if missing:
        assert f"asked for by name, and did not run: {', '.join(missing)}" in run.stdout


@pytest.mark.parametrize(
    ("statuses", "missing", "outcome"),
    [
        (("pass", "not run"), [], "pass"),
        (("pass", "not run"), ["tensorrt"], "not run"),
        (("pass", "fail", "inconclusive", "not run"), ["tensorrt"], "fail"),
        (("pass", "inconclusive", "not run"), ["tensorrt"], "inconclusive"),
        (("not run",), [], "not run"),
    ],
)
def test_the_worst_status_decides(statuses: tuple[str, ...], missing: list[str], outcome: str) -> None:
    assert overall_outcome([{"status": status} for status in statuses], missing) == outcome


def test_a_bundle_of_the_schema_before_is_refused_by_its_name(bundle: Path) -> None:
    change_manifest(bundle, lambda manifest: manifest.update(schema_version="1.1"))
    run = run_here(bundle / "verify.py", "--seconds", 0)
    assert_three_parts(run, 2)
    assert "bundle 1.1" in run.stderr
    with pytest.raises(BadInput, match=r"no bundle of schema 1\.2.*bundle 1\.1"):
        Bundle(bundle)
