"""Defects of the builder process."""

from pathlib import Path

import pytest

from export.common.errors import BadInput, CheckFailed, Failure, NotPossible
from export.engine import build as engine
from export.engine import plan as engine_plan
from export.engine.build import build_engine
from export.engine.plan import EnginePlan
from tests.support.planted_worker import plant, setting


@pytest.mark.usefixtures("rtx", "no_partial_left")
@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        pytest.param("import ctypes; ctypes.string_at(0)", CheckFailed, "killed by SIGSEGV", id="crash"),
        pytest.param("os._exit(0)", CheckFailed, "exit status 0", id="no result"),
        pytest.param("w.main(); os._exit(3)", CheckFailed, "exit status 3", id="result, then failure"),
        pytest.param(
            """
            def load(name): raise ImportError("planted")
            importlib.import_module = load
            """,
            NotPossible,
            "does not load",
            id="library broken",
        ),
        pytest.param(
            """
            inner = w.build
            w.build = lambda trt, job, send: inner(trt, dataclasses.replace(job, engine=Path("/dev/full")), send)
            """,
            BadInput,
            "No space left",
            id="disk full",
        ),
        pytest.param(
            setting("config.runtime_platform = trt.RuntimePlatform.WINDOWS_AMD64"),
            CheckFailed,
            "built no sound engine",
            id="error in the log of a plan",
        ),
        pytest.param(
            """
            class Deaf:
                def __init__(self, config): self.__dict__["config"] = config
                def __getattr__(self, name): return getattr(self.config, name)
                def __setattr__(self, name, value): setattr(self.config, name, value)
                def clear_flag(self, flag): pass
            inner = b.configure
            b.configure = lambda trt, builder, plan: inner(
                trt, types.SimpleNamespace(create_builder_config=lambda: Deaf(builder.create_builder_config())), plan
            )
            """,
            CheckFailed,
            "did not take TF32 off — True",
            id="TF32 stays on",
        ),
        pytest.param(
            "inner = w.profile_shapes\nw.profile_shapes = lambda *shapes: inner(*shapes)[::-1]",
            CheckFailed,
            "MIN<=OPT<=MAX",
            id="profile rejected",
        ),
        pytest.param(
            """
            inner = w.build
            def build(trt, job, send):
                result = inner(trt, job, send)
                os.truncate(job.engine, 100)
                return result
            w.build = build
            """,
            CheckFailed,
            "100 bytes in place of",
            id="file cut",
        ),
    ],
)
def test_defects_in_the_worker(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, kind: type[Failure], message: str
) -> None:
    monkeypatch.setattr(engine, "WORKER", plant(code))
    with pytest.raises(kind) as caught:
        build_engine(tiny, tmp_path / "e", EnginePlan())
    assert message in str(caught.value)
    files = {file.name for file in tmp_path.iterdir()} - {"tiny.onnx"}
    assert files == ({"e.failed.log"} if kind is CheckFailed and "e.failed.log" in str(caught.value) else set())


@pytest.mark.usefixtures("rtx")
def test_the_log_of_a_failed_build_is_kept_until_one_succeeds(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = setting("config.runtime_platform = trt.RuntimePlatform.WINDOWS_AMD64")
    build_engine(tiny, tmp_path / "e", EnginePlan(targets=("8.6",)))
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    failed = tmp_path / "kept" / "e.failed.log"
    with monkeypatch.context() as patch:
        patch.setattr(engine, "WORKER", plant(code))
        with pytest.raises(CheckFailed, match=f"{failed}"):
            build_engine(tiny, tmp_path / "e", EnginePlan(), kept_in=failed.parent)
    assert any(line.startswith("ERROR ") for line in failed.read_text().splitlines())
    failed_before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    assert failed_before == before
    build_engine(tiny, tmp_path / "e", EnginePlan(), kept_in=failed.parent)
    assert not failed.exists()


@pytest.mark.usefixtures("rtx")
def test_a_target_that_only_the_library_refuses(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_plan, "RTX_TARGETS", ("9.0",))
    monkeypatch.setattr(engine, "WORKER", plant("engine_plan.RTX_TARGETS = ('9.0',)"))
    with pytest.raises(CheckFailed, match=r"did not take compute capability 9\.0"):
        build_engine(tiny, tmp_path / "e", EnginePlan(targets=("9.0",)))
