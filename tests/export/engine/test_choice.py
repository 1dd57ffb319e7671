"""Which runtime builds on this machine, and why."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from export.common.errors import NotPossible
from export.common.files import PROJECT
from export.common.gpu import Gpu
from export.engine import choice as engine_runtime
from export.engine.build import build_engine
from export.engine.choice import choose_runtime, library_version
from export.engine.plan import BACKENDS, TENSORRT_RTX, EnginePlan
from export.runtime import gpu as nvidia
from tests.support.stub_driver import stub_driver


def test_no_runtime_is_not_possible(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_runtime, "find_spec", lambda name: None)
    with pytest.raises(NotPossible, match="tensorrt_rtx is not installed") as caught:
        build_engine(tiny, tmp_path / "new" / "e", EnginePlan())
    assert caught.value.exit_code == 4
    assert not (tmp_path / "new").exists()


@pytest.fixture
def both_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_runtime, "find_spec", lambda name: "installed")
    monkeypatch.setattr(engine_runtime, "library_version", lambda name: ("10.3.0", ""))


@pytest.mark.usefixtures("both_installed")
@pytest.mark.parametrize(
    ("init", "count", "runtime", "reason"),
    [
        (0, 1, "tensorrt", r"tensorrt is installed and First \(8\.6\) answers"),
        (0, 0, "tensorrt_rtx", "sees no GPU"),
        (100, 0, "tensorrt_rtx", "cuInit: error 100"),
        (None, 0, "tensorrt_rtx", "there is no NVIDIA driver"),
    ],
)
def test_tensorrt_needs_a_driver_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, init: int | None, count: int, runtime: str, reason: str
) -> None:
    driver = str(tmp_path / "absent.so") if init is None else stub_driver(tmp_path, init, count)
    monkeypatch.setattr(nvidia, "DRIVER", driver)
    choice = choose_runtime()
    assert choice.backend == BACKENDS[runtime]
    assert re.search(reason, choice.reason)
    assert choice.tunes_on == (Gpu("First", "8.6", 5_000_000_000, 46) if runtime == "tensorrt" else None)
    assert (choice.gpu is None) == bool(choice.no_gpu)


@pytest.mark.usefixtures("both_installed")
def test_a_runtime_can_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a GPU and both are installed, TensorRT-RTX is had by asking for it only."""
    monkeypatch.setattr(nvidia, "DRIVER", stub_driver(tmp_path, 0, 1))
    rtx = choose_runtime("tensorrt-rtx")
    assert (rtx.backend, rtx.tunes_on) == (TENSORRT_RTX, None)
    assert rtx.gpu is not None
    assert rtx.reason == "tensorrt-rtx was asked for; tensorrt_rtx is installed"
    monkeypatch.setattr(nvidia, "DRIVER", str(tmp_path / "absent.so"))
    none = choose_runtime("tensorrt")
    assert none.backend is None
    assert "tensorrt was asked for; tensorrt is installed, but there is no NVIDIA driver" in none.reason


def test_a_library_that_does_not_load_is_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JetPack's has no record of pip's: the version is what the library says, and no word is no version."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "of_jetpack.py").write_text("__version__ = '10.3.0'")
    (tmp_path / "broken.py").write_text("raise ImportError('libnvinfer.so.10: cannot open')")
    (tmp_path / "dying.py").write_text("import os; os.abort()")
    assert library_version("of_jetpack") == ("10.3.0", "")
    assert library_version("broken") == ("", "ImportError: libnvinfer.so.10: cannot open")
    assert library_version("dying") == ("", "exit status -6")
    monkeypatch.setattr(engine_runtime, "find_spec", lambda name: "installed")
    monkeypatch.setattr(engine_runtime, "default_gpu", lambda: (Gpu("Orin", "8.7", 1, 16), ""))
    monkeypatch.setattr(
        engine_runtime, "library_version", lambda name: ("", "planted") if name == "tensorrt" else ("1", "")
    )
    choice = choose_runtime()
    assert choice.backend == TENSORRT_RTX
    assert "tensorrt is installed, but does not load: planted" in choice.reason


def test_importing_the_module_is_light() -> None:
    check = (
        "import sys, export.engine; print({'tensorrt', 'tensorrt_rtx', 'onnx', 'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
