"""What a machine lacks, such as a home folder, a temporary folder or a terminal, is never a fault of the bundle."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from pose_runtime import NotPossible
from pose_runtime.bundle import Bundle
from pose_runtime.engine_cache import VARIABLE, cache_folder, store_engine, stored_records
from pose_verify import verification
from pose_verify.goldens import read_goldens

from export.bundle.write import write_bundle
from tests.support.bundles import PROBE_FREE, QUICK, report_of


def shell(bundle: Path, streams: str, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the verifier in a shell, with streams redirected, and with variables that ``-I`` would ignore."""
    command = f'"{sys.executable}" "{bundle}/verify.py" {" ".join(options)} {streams}'
    settings = PROBE_FREE | {"HOME": str(bundle.parent)} | environment
    return subprocess.run(
        ["/bin/bash", "-c", command], env=settings, capture_output=True, text=True, errors="replace", check=False
    )


def test_lost_output_is_an_error(bundle: Path) -> None:
    run = shell(bundle, ">/dev/full", "--id")
    assert run.returncode == 2
    assert "error: the output could not be written completely" in run.stderr
    assert "Traceback" not in run.stderr
    assert "Exception ignored" not in run.stderr


def test_a_failure_keeps_its_exit_code_without_stderr(bundle: Path) -> None:
    (bundle / "more").touch()
    assert shell(bundle, "2>&-", "--hashes-only").returncode == 1
    assert shell(bundle, ">/dev/full", "--hashes-only").returncode == 1


def test_a_runtime_that_does_not_load_has_not_run(bundle: Path, tmp_path: Path) -> None:
    """OpenVINO's import raises RuntimeError for a user without a home folder."""
    (tmp_path / "planted/openvino").mkdir(parents=True)
    (tmp_path / "planted/openvino/__init__.py").write_text("raise RuntimeError('Could not determine home directory.')")
    options = ("--seconds", "0", "--precision", "fp32", "--runtime", "openvino,onnxruntime")
    run = shell(bundle, "", *options, PYTHONPATH=str(tmp_path / "planted"))
    rows = {row["runtime"]: row for row in report_of(bundle / "device-report.json")["results"] if row["asked"]}
    assert (rows["openvino"]["status"], rows["onnxruntime"]["status"]) == ("not run", "pass")
    assert "Could not determine home directory" in rows["openvino"]["reason"]
    assert run.returncode == 4  # named, and did not run


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a user without a home folder."""

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    for name in ("HOME", "XDG_CACHE_HOME", VARIABLE):
        monkeypatch.delenv(name, raising=False)


def test_without_a_home_folder_there_are_no_stored_engines(homeless: None) -> None:
    assert stored_records("tensorrt", "0" * 64) == []
    for store in (cache_folder, lambda: store_engine(b"", {})):
        with pytest.raises(NotPossible, match=f"set HOME or {VARIABLE}"):
            store()


@pytest.mark.parametrize(
    ("error", "status"),
    [(MemoryError(), "not run"), (OSError(28, "No space left on device"), "not run"), (ValueError("no"), "fail")],
)
@pytest.mark.parametrize("when", ["load", "run"])
def test_what_the_machine_lacks_fails_no_row(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, status: str, when: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    session = SimpleNamespace(largest_batch=None, run=fail, close=lambda: None)
    opened = fail if when == "load" else lambda *_: (session, "onnx", "0" * 64)
    monkeypatch.setattr(verification, "open_session", opened)
    row = verification.empty_row("onnxruntime", "fp32")
    opened_bundle = Bundle(bundle)
    assert verification.judge_session(opened_bundle, read_goldens(opened_bundle), row, None) is None
    assert row["status"] == status
    assert type(error).__name__ in row["reason"]


def test_types_are_not_known_without_a_temporary_folder() -> None:
    def fail() -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    text = verification.computes_in(SimpleNamespace(convolution_types=fail))
    assert text.startswith("not known: ")
    assert "set TMPDIR" in text


def test_a_bundle_is_proven_without_a_temporary_folder(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    bundle = write_bundle(exported, tmp_path / "out", QUICK)
    assert bundle.verified
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "once-bundle",
        "once-bundle.sha256",
        "once-bundle.zip",
    ]


def test_the_build_script_asks_for_a_home_folder(bundle: Path, tmp_path: Path) -> None:
    program = tmp_path / "trtexec"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "TRTEXEC": str(program), "TENSORRT_MAJOR": "10"}
    command = ["sh", str(bundle / "build.sh")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "set HOME, or OUT" in run.stderr
