"""Choice of the library that builds on this machine."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from export.common.errors import NotPossible
from export.common.files import PROJECT
from export.engine import choice as choosing
from export.engine.build import build_engine
from export.engine.choice import choose_runtime, library_version
from export.engine.plan import EnginePlan
from export.runtime import gpu as nvidia
from export.runtime.engine_file import PRODUCTS, TENSORRT_RTX
from export.runtime.gpu import Gpu


def test_no_runtime_is_not_possible(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "find_spec", lambda name: None)
    with pytest.raises(NotPossible, match="tensorrt_rtx is not installed") as caught:
        build_engine(tiny, tmp_path / "new" / "e", EnginePlan())
    assert caught.value.exit_code == 4
    assert not (tmp_path / "new").exists()


@pytest.fixture
def both_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "find_spec", lambda name: "installed")
    monkeypatch.setattr(choosing, "library_version", lambda name: ("10.3.0", ""))


@pytest.mark.usefixtures("both_installed", "driver")
@pytest.mark.parametrize(
    ("defect", "runtime", "reason"),
    [
        (None, "tensorrt", r"tensorrt is installed and Orin \(8.7\) answers"),
        (("FAKE_NO_GPU", "1"), "tensorrt_rtx", "sees no GPU"),
        (("FAKE_REFUSES", "cuInit"), "tensorrt_rtx", "cuInit: error 999"),
    ],
)
def test_tensorrt_needs_a_gpu(
    monkeypatch: pytest.MonkeyPatch, defect: tuple[str, str] | None, runtime: str, reason: str
) -> None:
    if defect is not None:
        monkeypatch.setenv(*defect)
    choice = choose_runtime()
    assert choice.product == PRODUCTS[runtime]
    assert re.search(reason, choice.reason)
    assert choice.tunes_on == (Gpu("Orin", "8.7", 8 << 30, 8) if runtime == "tensorrt" else None)
    assert (choice.gpu is None) == bool(choice.no_gpu)


@pytest.mark.usefixtures("both_installed", "driver")
def test_a_named_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a GPU and both are installed, only its name chooses TensorRT-RTX."""
    rtx = choose_runtime("tensorrt-rtx")
    assert (rtx.product, rtx.tunes_on) == (TENSORRT_RTX, None)
    assert rtx.gpu is not None
    assert rtx.reason == "tensorrt-rtx was asked for; tensorrt_rtx is installed"
    monkeypatch.setattr(nvidia, "DRIVER", "libnone-at-all.so.1")
    none = choose_runtime("tensorrt")
    assert none.product is None
    assert "tensorrt was asked for; tensorrt is installed, but there is no NVIDIA driver" in none.reason


def test_a_library_that_does_not_load_is_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version comes from the library itself: JetPack's has no record of pip's."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "of_jetpack.py").write_text("__version__ = '10.3.0'")
    (tmp_path / "broken.py").write_text("raise ImportError('libnvinfer.so.10: cannot open')")
    (tmp_path / "dying.py").write_text("import os; os.abort()")
    assert library_version("of_jetpack") == ("10.3.0", "")
    assert library_version("broken") == ("", "ImportError: libnvinfer.so.10: cannot open")
    assert library_version("dying") == ("", "exit status -6")
    monkeypatch.setattr(choosing, "find_spec", lambda name: "installed")
    monkeypatch.setattr(choosing, "default_gpu", lambda: (Gpu("Orin", "8.7", 1, 16), ""))
    monkeypatch.setattr(choosing, "library_version", lambda name: ("", "planted") if name == "tensorrt" else ("1", ""))
    choice = choose_runtime()
    assert choice.product == TENSORRT_RTX
    assert "tensorrt is installed, but does not load: planted" in choice.reason


def test_the_builder_s_parent_loads_no_library() -> None:
    heavy = "{'tensorrt', 'tensorrt_rtx', 'onnx', 'torch', 'numpy'}"
    check = f"import sys, export.engine.build; print({heavy} & set(sys.modules))"
    child = subprocess.run([sys.executable, "-c", check], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert child.stdout == "set()\n"
