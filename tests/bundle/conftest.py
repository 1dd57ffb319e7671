"""What holds for all tests of the bundle."""

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from export.bundle import write as bundle_writing
from tests.command_line import ROOT

if TYPE_CHECKING:
    from pose_runtime.gpu import Driver


@pytest.fixture
def unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles are not run, which takes seconds: for tests of what comes before."""
    monkeypatch.setattr(bundle_writing, "verify_here", lambda folder: {"results": []})


@pytest.fixture(scope="session")
def driver_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the driver's stand-in lies, under the name of NVIDIA's."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    from pose_runtime import gpu

    folder = tmp_path_factory.mktemp("driver")
    source, target = ROOT / "tests/standin/driver.c", folder / gpu.DRIVER
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", target, source], check=True)
    return folder


@pytest.fixture
def driver(driver_folder: Path, monkeypatch: pytest.MonkeyPatch) -> "Driver":
    """That one, as a bundle's runtime loads it."""
    from pose_runtime import gpu

    monkeypatch.setattr(gpu, "DRIVER", str(driver_folder / gpu.DRIVER))
    return gpu.Driver()


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a bundle's builder keeps engines."""
    from pose_runtime import engine_cache

    monkeypatch.setenv(engine_cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"
