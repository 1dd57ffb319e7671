"""What a bundle's verifier finds of a whole bundle, and what it is asked for."""

import hashlib
import os
from pathlib import Path

import pytest
from pose_runtime.bundle import Bundle
from pose_verify.session import outcome_of

from bench.results.device_report import read_device_report
from tests.support.bundles import report_of, verify
from tests.support.command_line import assert_three_parts


def test_a_bundle_proves_itself_and_reports(bundle: Path) -> None:
    run = verify(bundle, "--seconds", 1)
    assert run.returncode == 0, run.stdout + run.stderr
    report = read_device_report(bundle / "device-report.json")
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
        assert row.parity.outcome == "pass"
        assert row.parity.images == 16
        assert row.computes_in
        assert row.threads == len(os.sched_getaffinity(0))
        assert row.artifact_sha256 == Bundle(bundle).onnx(precision)["sha256"]
        assert row.latency is not None
        assert row.latency.rounds >= 3
        assert row.latency.samples == sum(map(len, row.latency.rounds_ms)) == 4 * row.latency.rounds
        assert row.latency.p99_ms is None  # there are not 662 samples
    assert report.overhead is not None
    assert report.overhead.runtime == "onnxruntime"
    assert report.settings is not None
    assert report.settings.affinity == sorted(os.sched_getaffinity(0))
    assert f"onnxruntime with {len(os.sched_getaffinity(0))} thread" in run.stdout
    assert "weights: checkpoint" in run.stdout
    assert verify(bundle, "--hashes-only").returncode == 0  # its own report is no stranger


def test_only_what_is_asked_for(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere.json"
    run = verify(bundle, "--seconds", 0, "--runtime", "onnxruntime", "--precision", "fp16,fp32", "--out", out)
    assert run.returncode == 0, run.stderr
    report = read_device_report(out)
    assert [(row.runtime, row.precision) for row in report.results if row.asked] == [
        ("onnxruntime", "fp16"),
        ("onnxruntime", "fp32"),
    ]
    others = [row for row in report.results if not row.asked]
    assert len({(row.runtime, row.precision) for row in others}) == 14
    assert {(row.status, row.reason) for row in others} == {
        ("not run", "not asked for: --runtime onnxruntime --precision fp16,fp32")
    }
    assert "not asked for: tensorrt (fp32, fp16, bf16, int8); tensorrt_rtx (fp32" in run.stdout
    assert report.protocol is None
    assert not (bundle / "device-report.json").exists()


def test_the_id_is_the_manifests_hash(bundle: Path) -> None:
    own = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert verify(bundle, "--id").stdout.strip() == own
    assert verify(bundle, "--hashes-only", "--expect", own).returncode == 0
    assert verify(bundle, "--id", "--expect", own).stdout.strip() == own
    for ending in ("--hashes-only", "--id"):
        run = verify(bundle, ending, "--expect", "0" * 64)
        assert_three_parts(run, 1)
        assert "not the bundle that was expected" in run.stderr
        assert run.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("--runtime", "pytorch"), 2, "pytorch"),
        (("--precision", "fp8"), 2, "fp8"),
        (("--seconds", "nan"), 2, "--seconds nan"),
        (("--threads", "0"), 2, "--threads 0"),
        (("--runtime", "onnxruntime", "--no-build"), 2, "--no-build would change nothing"),
        (("--out", "/dev/null"), 2, "no plain file lies there"),
        (("--runtime", "tensorrt,tensorrt_rtx", "--threads", "1"), 2, "--threads would change nothing"),
        (("--id", "--hashes-only"), 2, "--id ends before other switches count"),
        (("--hashes-only", "--seconds", "0"), 2, "--seconds"),
        (("--out", "/nowhere/at/all.json"), 2, "cannot write"),
        (("--out", "BUNDLE/manifest.json"), 2, "among the bundle's files"),
    ],
)
def test_wrong_arguments(bundle: Path, arguments: tuple[str, ...], exit_code: int, said: str) -> None:
    run = verify(bundle, *(of.replace("BUNDLE", str(bundle)) for of in arguments))
    assert_three_parts(run, exit_code)
    assert said in run.stderr


def test_where_nothing_runs_it_nothing_passes(bundle: Path, tmp_path: Path) -> None:
    run = verify(bundle, "--runtime", "tensorrt", "--seconds", 0)
    assert run.returncode == 4, run.stderr
    assert report_of(bundle / "device-report.json")["outcome"] == "not run"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "missing"),
    [
        (("--runtime", "tensorrt,onnxruntime", "--precision", "fp32"), 4, ["tensorrt fp32"]),
        (("--runtime", "onnxruntime", "--precision", "fp32,bf16"), 4, ["onnxruntime bf16"]),
        (("--runtime", "onnxruntime"), 0, []),  # which has no BF16 here, for which nobody asked
    ],
)
def test_what_was_asked_for_by_name_must_run(
    bundle: Path, arguments: tuple[str, ...], exit_code: int, missing: list[str]
) -> None:
    """There is no GPU here, so that what needs one cannot run."""
    run = verify(bundle, "--seconds", 0, *arguments)
    assert run.returncode == exit_code, run.stdout + run.stderr
    report = read_device_report(bundle / "device-report.json")
    assert (report.outcome, report.missing) == ("not run" if missing else "pass", missing)
    assert "pass" in {row.status for row in report.results}
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
def test_the_worst_decides(statuses: tuple[str, ...], missing: list[str], outcome: str) -> None:
    assert outcome_of([{"status": status} for status in statuses], missing) == outcome
