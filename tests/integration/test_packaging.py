"""What `pip install .` puts into another environment: all of this project, and the same code."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bench.fleet.spec import code_version
from export.runtime.onnx_runtime import int8_is_wrong
from tests.support.command_line import ROOT
from tests.support.tiny_export import tiny_config

ROOMS = ("export", "bench", "cli", "configs", "demo")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tracked files alone."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"  # setuptools leaves its build/ beside the sources
    files = tracked()
    for name in (*files, "pyproject.toml", "README.md", "LICENSE"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", place, source], check=True)
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The wheel's contents, in a folder of their own."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheel.parent / "installed")
    return wheel.parent / "installed"


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


class BareEnvironment:
    """An environment with the wheel and what it requires, linked from this one: no index is asked."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "environment"], check=True)
        self.bin = folder / "environment/bin"
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "--quiet", "--no-index"]
        subprocess.run([*pip, "--no-deps", wheel], check=True)
        (self.packages,) = folder.glob("environment/lib/python3*/site-packages")
        self.add()

    def add(self, *extras: str) -> None:
        """Link the requirements of the base, or of extras, and what those require."""
        (record,) = self.packages.glob("convnextpose_deploy-*.dist-info")
        waiting: list[tuple[metadata.Distribution, frozenset[str]]]
        waiting = [(metadata.Distribution.at(record), frozenset(extras))]
        done: set[tuple[str, frozenset[str]]] = set()
        while waiting:
            distribution, wanted = waiting.pop()
            for line in distribution.requires or []:
                needed = Requirement(line)
                entry = (needed.name, frozenset(needed.extras))
                applies = needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in ("", *wanted))
                if applies and entry not in done:
                    done.add(entry)
                    self.link(metadata.distribution(needed.name))
                    waiting.append((metadata.distribution(needed.name), entry[1]))

    def link(self, distribution: metadata.Distribution) -> None:
        for name in {path.parts[0] for path in distribution.files or () if path.parts[0] not in ("..", "__pycache__")}:
            if not (self.packages / name).exists():
                (self.packages / name).symlink_to(str(distribution.locate_file(name)))

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        command = [str(self.bin / "convnextpose"), *words]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )


def test_the_wheel_alone_exports_and_names_what_it_lacks(wheel: Path, tmp_path: Path) -> None:
    convnextpose = BareEnvironment(tmp_path, wheel)
    for module in ("openvino", "altair", "distributed", "tensorrt_rtx", "pytest"):
        assert not (convnextpose.packages / module).exists()
    done = convnextpose("export", tiny_config(tmp_path).name, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "pip install 'convnextpose-deploy[tensorrt-rtx]'" in " ".join(done.stdout.split())
    refusals = {
        ("report", "out/tiny"): "report",
        ("bench", "out/tiny", "--runtime", "openvino"): "openvino",
        ("engine", "out/tiny"): "tensorrt-rtx",
    }
    for words, extra in refusals.items():
        done = convnextpose(*words)
        assert done.returncode == 4, (words, done.stderr)
        assert f"pip install 'convnextpose-deploy[{extra}]'" in " ".join(done.stderr.split()), done.stderr
    convnextpose.add("report")
    assert convnextpose("report", "out/tiny").returncode == 0
    assert (tmp_path / "out/tiny/report/report.html").is_file()


def test_the_notebook_installs_the_wheel_that_lies_beside_the_checkpoints(wheel: Path, tmp_path: Path) -> None:
    convnextpose = BareEnvironment(tmp_path, wheel)
    convnextpose.add("report", "openvino")
    convnextpose.link(metadata.distribution("pip"))
    python = convnextpose.bin / "python"
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "convnextpose-deploy"], check=True)
    environment = {"PATH": str(convnextpose.bin), "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def notebook() -> subprocess.CompletedProcess[str]:
        command = [str(python), str(ROOT / "notebooks/convnextpose.py")]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    (tmp_path / "weights/first/second").mkdir(parents=True)
    (tmp_path / "weights/damaged.pth").write_text("<html>")
    without = notebook()
    assert without.returncode == 2, without.stderr
    assert "no convnextpose_deploy-*.whl below weights" in without.stdout
    shutil.copy(wheel, tmp_path / "weights/first/second")
    done = notebook()
    assert f"convnextpose-deploy {metadata.version('convnextpose-deploy')}" in done.stdout, done.stdout + done.stderr
    assert "damaged.pth: the file is not a checkpoint" in done.stdout
