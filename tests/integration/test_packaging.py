"""What `pip install .` puts into another environment: all of this project, and the same code."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bench.fleet.spec import code_version
from export.runtime.onnx_runtime import int8_is_wrong
from tests.support.command_line import ROOT

ROOMS = ("export", "bench", "cli", "configs", "demo")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's contents, in a folder of their own."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"  # setuptools leaves its build/ beside the sources
    files = tracked()
    for name in (*files, "pyproject.toml", "README.md", "LICENSE"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", place, source], check=True)
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "installed")
    return place / "installed"


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_no_file_is_missing_and_none_is_added(installed: Path) -> None:
    there = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    assert {name for name in there if ".dist-info/" not in name} == set(tracked())


def in_(installed: Path, code: str) -> str:
    """What Python says there."""
    done = subprocess.run([sys.executable, "-c", code], cwd=installed, capture_output=True, text=True, check=True)
    return done.stdout


def test_it_is_the_same_code_for_a_fleet(installed: Path) -> None:
    """Workers and clients compare this, however each was installed."""
    said = in_(installed, "from bench.fleet import spec; print(spec.__file__, spec.code_version())")
    assert said.split() == [str(installed / "bench/fleet/spec.py"), code_version()]


def test_bundles_have_the_licence_from_there_as_well(installed: Path) -> None:
    said = in_(installed, "from export.bundle.text import licence; print(licence(), end='')")
    assert said == (ROOT / "LICENSE").read_text()


def test_no_onnx_runtime_that_computes_int8_wrongly_is_installed() -> None:
    """On every platform; and what the tests run with is one that may be."""
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    asked = [of for of in map(Requirement, stated) if of.name in ("onnxruntime", "onnxruntime-gpu")]
    assert len(asked) == 2
    for requirement in asked:
        assert not requirement.specifier.contains("1.29.99")
        assert requirement.specifier.contains("1.30.0")
    (tested,) = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("onnxruntime")]
    assert not int8_is_wrong(tested.partition("==")[2])
