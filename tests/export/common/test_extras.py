"""The extras: what errors name is what pyproject.toml has."""

import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bench.sessions.exported import load_session, read_export
from cli import report
from export.common.errors import NotPossible
from export.common.extras import EXTRAS, install_command, missing
from export.parity import sessions
from tests.support.command_line import ROOT
from tests.support.tensorrt_members import RTX, WHEELS
from tests.support.tiny_export import Run

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRA_PACKAGES = {
    name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()
}
PACKAGES = {"jinja2": "Jinja2", "tensorrt_rtx": "tensorrt-rtx", "vl_convert": "vl-convert-python"}
"""Module → package, where they differ."""
OPENVINO = "pip install 'convnextpose-deploy[openvino]'"


@pytest.mark.parametrize("module", EXTRAS)
def test_a_command_installs_its_module(module: str) -> None:
    assert PACKAGES.get(module, module) in {package.name for package in EXTRA_PACKAGES[EXTRAS[module]]}
    assert install_command(module) == f"pip install '{PROJECT['name']}[{EXTRAS[module]}]'"


def test_what_is_optional_is_not_in_the_base() -> None:
    base = {Requirement(line).name for line in PROJECT["dependencies"]}
    optional = {package.name for name in set(EXTRAS.values()) for package in EXTRA_PACKAGES[name]}
    assert not base & optional


@pytest.mark.parametrize(
    ("extra", "newest"), [("tensorrt", list(WHEELS)[-1]), ("tensorrt-rtx", RTX.removeprefix("RTX "))]
)
def test_tensorrt_is_not_newer_than_the_bindings_that_are_checked(extra: str, newest: str) -> None:
    (package,) = EXTRA_PACKAGES[extra]
    major, minor = map(int, newest.split("."))
    assert package.specifier.contains(f"{newest}.999")
    assert not package.specifier.contains(f"{major}.{minor + 1}")


def test_a_report_names_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(NotPossible, match=r"convnextpose-deploy\[report\]"):
        report.command([tmp_path])


def test_a_library_that_does_not_load_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "jinja2.py").write_text("raise ImportError('libplanted.so.1: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "jinja2", raising=False)
    with pytest.raises(NotPossible, match="libplanted"):
        report.command([tmp_path])


def test_parity_without_openvino(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "installed", lambda name: False)
    for precision in ("bf16", "int8"):
        runtimes, skipped = sessions.parity_runtimes(precision)
        assert sessions.OPENVINO not in runtimes
        assert sessions.SIMULATION in runtimes
        assert skipped["OpenVINO"] == missing("openvino")
    assert "OpenVINO" not in sessions.parity_runtimes("fp16")[1]
    exported = tiny_run[0] / "build/tiny"
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(NotPossible) as caught:
        load_session(read_export(exported), "openvino", "fp32")
    assert OPENVINO in caught.value.advice
