"""A user without a home folder, and a machine without a folder for temporary files."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bench.machine.doctor import capabilities
from bench.machine.facts import collect_facts
from export.common.errors import NotPossible
from export.runtime import registry
from export.runtime.host import NO_HOME, prepare_environment, require_temporary_folder
from tests.support.command_line import ROOT, assert_three_parts, in_process


def no_folder() -> str:
    raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")


def test_a_user_id_without_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    pwd = pytest.importorskip("pwd")

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    with pytest.raises(RuntimeError):
        Path.home()
    prepare_environment()
    assert (str(Path.home()), os.environ["USER"]) == (NO_HOME, "unknown")
    monkeypatch.setenv("HOME", "/home/somebody")
    prepare_environment()
    assert os.environ["HOME"] == "/home/somebody"


def test_a_library_that_fails_to_import_is_not_possible_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "openvino_planted.py").write_text("raise RuntimeError('no home')")
    monkeypatch.syspath_prepend(str(tmp_path))
    planted = registry.RUNTIMES["openvino"]._replace(package="openvino_planted")
    monkeypatch.setitem(registry.RUNTIMES, "openvino", planted)
    with pytest.raises(NotPossible, match="does not load — no home"):
        registry.load_library("openvino")


def test_no_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert require_temporary_folder().is_dir()
    monkeypatch.setattr(tempfile, "gettempdir", no_folder)
    with pytest.raises(NotPossible, match="no folder for temporary files"):
        require_temporary_folder()
    run = in_process("bundle", tmp_path, cwd=tmp_path)
    assert_three_parts(run, 4)
    assert "TMPDIR" in run.stderr
    facts = collect_facts(tmp_path)
    assert "no folder for temporary files" in facts.temporary.trouble
    assert {row.name: row.available for row in capabilities(facts)}["room"] == "no"
    assert in_process("doctor", "--json", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("chosen", [None, "0"])
def test_onnx_runtime_reports_nothing_unless_the_user_wants_it(tmp_path: Path, chosen: str | None) -> None:
    """Its telemetry writes an identifier below the home folder, and a file into the folder for temporary files."""
    program = "import os; from export.runtime.registry import load_library; load_library('onnxruntime')"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    if chosen is not None:
        environment["ORT_DISABLE_TELEMETRY"] = chosen
    command = [sys.executable, "-c", f"{program}; print(os.environ['ORT_DISABLE_TELEMETRY'])"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == (chosen or "1")
    assert chosen or not list(tmp_path.iterdir())
