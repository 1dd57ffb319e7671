"""Fixtures of tests of ``convnextpose report``."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import in_process
from tests.support.fleet_measured import write_run
from tests.support.report_folder import USUAL, write_folder
from tests.support.report_pages import INVALID, UNSTABLE

Report = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Run the command in this process."""
    return lambda *arguments: in_process("report", *arguments, cwd=tmp_path)


@pytest.fixture(scope="session")
def planted_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model with good rows, an unstable and an invalid one; tests must not change it."""
    return write_folder(tmp_path_factory.mktemp("model") / "S", (*USUAL, UNSTABLE, INVALID))


@pytest.fixture
def model_folder(planted_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(planted_model, tmp_path / "build/S"))


@pytest.fixture(scope="session")
def planted_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a fleet run: two devices, two models, one of four jobs failed; tests must not change it."""
    folder = tmp_path_factory.mktemp("fleet") / "build/fleet/spring"
    write_run(folder)
    return folder


@pytest.fixture
def run_folder(planted_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(planted_run, tmp_path / "build/fleet/spring"))
