"""A bundle without this project: in fresh environments, and on the oldest Python of Jetsons.

The environments are made with ``python -m venv`` and pip, and hold NumPy and one runtime.
"""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from bench.results.device_report import DeviceReport, read_device_report
from tests.support.bundles import DEVICE, verify

OLDEST = "3.8"
SOURCES = sorted(DEVICE.rglob("*.py"))
Environment = Callable[..., Path]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return a function that makes an environment with packages, or skips if the package index does not answer."""

    def make(python: str, *packages: str) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        interpreter, program = folder / "bin/python", [python, "-m", "pip", "--python", str(folder / "bin/python")]
        if python == sys.executable:  # whose pip serves both
            subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True, capture_output=True)
        else:
            subprocess.run([python, "-m", "venv", folder], check=True, capture_output=True)
            program = [str(interpreter), "-m", "pip"]
        options = ["--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--no-compile"]
        install = [*program, "install", *options, *packages]
        run = subprocess.run(install, capture_output=True, text=True, timeout=300, check=False)
        if run.returncode != 0:
            pytest.skip(f"{', '.join(packages)} cannot be installed: {run.stderr.strip().splitlines()[-1]}")
        return interpreter

    return make


def pinned(package: str, pinned_as: str | None = None) -> str:
    """Return a requirement of the version that is tested here."""
    return f"{package}=={metadata.version(pinned_as or package)}"


def oldest_python() -> str | None:
    """Return an interpreter of the oldest version, from the path or from pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    paths = [shutil.which(f"python{OLDEST}"), *sorted(map(str, pyenv.glob(f"versions/{OLDEST}.*/bin/python")))]
    for path in filter(None, paths):
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        run = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        if run.stdout.strip() == OLDEST:
            return path
    return None


@pytest.fixture
def unpacked(once_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy elsewhere that shares no file."""
    return Path(shutil.copytree(once_bundle, tmp_path / "received"))


def proven(report: DeviceReport) -> set[tuple[str, str]]:
    return {(row.runtime, row.precision) for row in report.results if row.status == "pass"}


def test_with_numpy_and_onnx_runtime_alone(environment: Environment, unpacked: Path) -> None:
    released = next(n for n in ("onnxruntime-gpu", "onnxruntime") if _installed(n))
    python = environment(sys.executable, pinned("numpy"), pinned("onnxruntime", released))
    run = verify(unpacked, "--seconds", 1, python=str(python))
    assert run.returncode == 0, run.stdout + run.stderr
    report = read_device_report(unpacked / "device-report.json")
    assert proven(report) == {("onnxruntime", "fp32"), ("onnxruntime", "fp16"), ("onnxruntime", "int8")}
    assert report.versions.keys() == {"python", "numpy", "onnxruntime"}
    use = "import sys; sys.path.insert(0, sys.argv[1]); import numpy as np; from pose_runtime import Pose; "
    use += "pose = Pose.load(sys.argv[1]); px, mm = pose(np.zeros((64, 48, 3), np.uint8), [(4, 4, 20, 40)] * 3); "
    use += "print(px.shape, mm.shape)"
    run = subprocess.run([python, "-I", "-c", use, unpacked], cwd="/", capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "(3, 18, 2) (3, 18, 3)", run.stderr


def test_with_numpy_and_openvino_alone(environment: Environment, unpacked: Path) -> None:
    pytest.importorskip("openvino")
    python = environment(sys.executable, pinned("numpy"), pinned("openvino"))
    run = verify(unpacked, "--seconds", 1, python=str(python))
    assert run.returncode == 0, run.stdout + run.stderr
    report = read_device_report(unpacked / "device-report.json")
    assert proven(report) >= {("openvino", "fp32"), ("openvino", "fp16"), ("openvino", "bf16")}
    assert report.overhead is not None
    assert report.overhead.runtime == "openvino"


def test_on_the_oldest_python(environment: Environment, unpacked: Path) -> None:
    """With its newest NumPy and ONNX Runtime, which are years old and compute INT8 wrongly."""
    if (oldest := oldest_python()) is None:
        pytest.skip(f"Python {OLDEST} is not installed")
    python = environment(oldest, "numpy==1.24.4", "onnxruntime==1.19.2")
    run = verify(unpacked, "--seconds", 1, python=str(python))
    assert run.returncode == 0, run.stdout + run.stderr
    report = read_device_report(unpacked / "device-report.json")
    assert report.versions["python"].startswith(OLDEST + ".")
    assert proven(report) == {("onnxruntime", "fp32"), ("onnxruntime", "fp16")}
    [int8] = [row for row in report.results if (row.runtime, row.precision) == ("onnxruntime", "int8")]
    assert int8.status == "not run"
    assert "onnxruntime 1.19.2 computes INT8 files wrongly" in int8.reason
    modules = [path.relative_to(DEVICE).with_suffix("").as_posix().replace("/", ".") for path in SOURCES]
    code = "import sys, importlib; sys.path.insert(0, sys.argv[1]); [importlib.import_module(m) for m in sys.argv[2:]]"
    run = subprocess.run(
        [python, "-I", "-B", "-c", code, unpacked, *modules], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_syntax_and_library_of_the_oldest_python() -> None:
    """The programs import nothing of this repository, and nothing that a device may not have."""
    allowed = {"numpy", "cv2", "onnxruntime", "openvino", "tensorrt", "pose_runtime", "pose_verify", "verify"}
    for path in SOURCES:
        tree = ast.parse(path.read_text(), feature_version=(3, 8))
        imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        imported |= {
            node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level
        }
        assert {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names) <= allowed, path


def lint_for(target: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Run vermin; evaluate annotations only in files without ``from __future__ import annotations``."""
    options = ["--quiet", "--no-tips", "--violations", f"--target={target}-"]
    lazy = [path for path in paths if "from __future__ import annotations" in path.read_text()]
    eager = [path for path in paths if path not in lazy]
    program = [str(Path(sys.executable).with_name("vermin")), *options]
    runs = [
        subprocess.run([*program, *more, *map(str, files)], capture_output=True, text=True, check=False)
        for files, more in ((lazy, []), (eager, ["--eval-annotations"]))
        if files
    ]
    return max(runs, key=lambda run: run.returncode)


def test_nothing_newer_than_the_oldest_python_is_called(tmp_path: Path) -> None:
    run = lint_for(OLDEST, *SOURCES)
    assert run.returncode == 0, run.stdout
    for code in ("import datetime\ndatetime.UTC\n", "'a'.removeprefix('b')\n", "def f(a: dict[str, int]): pass\n"):
        planted = tmp_path / "planted.py"
        planted.write_text(code)
        assert lint_for(OLDEST, planted).returncode == 1, code


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
