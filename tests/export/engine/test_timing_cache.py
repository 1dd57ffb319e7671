"""Kernel timings, on the bindings of TensorRT-RTX, which have the same calls as TensorRT."""

import importlib
from pathlib import Path

import pytest

from export.common.errors import CheckFailed
from export.common.gpu import Gpu
from export.engine import build as engine
from export.engine.choice import Choice
from export.engine.plan import BuildJob, EnginePlan
from export.engine.timing_cache import keep_timing_cache, timing_cache_path, use_timing_cache
from export.runtime.engine_file import TENSORRT
from export.runtime.tensorrt_api import IBuilderConfig, TensorRT
from export.runtime.tensorrt_log import make_logger

pytest.importorskip("tensorrt_rtx")
pytestmark = pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")


@pytest.fixture(scope="module")
def config() -> IBuilderConfig:
    trt: TensorRT = importlib.import_module("tensorrt_rtx")
    return trt.Builder(make_logger(trt, [])).create_builder_config()


def test_what_is_kept_is_used_again(tmp_path: Path, config: IBuilderConfig) -> None:
    path = timing_cache_path(tmp_path, "a GPU", "1")
    use_timing_cache(config, path, [])
    keep_timing_cache(config, path)
    assert path.stat().st_size > 0
    use_timing_cache(config, path, [])


class Refuses:
    """A builder that does not take a cache unless it is empty, or not even then, and logs that as an error."""

    def __init__(self, empty_too: bool) -> None:
        self.empty_too = empty_too
        self.taken: list[bytes] = []
        self.errors = ["of something else"]

    def create_timing_cache(self, serialized: bytes) -> bytes:
        return serialized

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        self.taken.append(cache)
        if taken := not cache and not self.empty_too:
            return taken
        self.errors.append(f"refused {len(cache)} bytes")
        return False


def test_another_builder_s_cache_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"of another version")
    builder = Refuses(empty_too=False)
    use_timing_cache(builder, tmp_path / "cache", builder.errors)  # type: ignore[arg-type]
    assert builder.taken == [b"of another version", b""]
    assert builder.errors == ["of something else"]  # or the sound build that follows would be refused for it
    builder = Refuses(empty_too=True)
    with pytest.raises(CheckFailed, match="refused 18 bytes; refused 0 bytes"):
        use_timing_cache(builder, tmp_path / "cache", builder.errors)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kept", "asked", "folder"),
    [(None, "auto", "new/timing"), ("kept", "auto", "kept/timing"), ("kept", "mine", "mine"), ("kept", "none", None)],
)
def test_a_build_on_a_gpu_keeps_its_cache_where_the_next_finds_it(
    tmp_path: Path,
    typed_files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    kept: str | None,
    asked: str,
    folder: str | None,
) -> None:
    """A step's own folder is removed after the step."""
    jobs: list[BuildJob] = []

    def worker(job: BuildJob, *_: object) -> None:
        jobs.append(job)
        raise CheckFailed("stopped here", "", "")

    choice = Choice(TENSORRT, "planted", "10.3.0", Gpu("a GPU", "8.7", 7 << 30, 16))
    monkeypatch.setattr(engine, "choose_runtime", lambda runtime: choice)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "_run_worker", worker)
    plan, kept_in = EnginePlan(timing_cache=asked), None if kept is None else tmp_path / kept
    with pytest.raises(CheckFailed, match="stopped here"):
        engine.build_engine(typed_files["fp32"], tmp_path / "new/e", plan, kept_in=kept_in)
    name = "a-GPU-8.7-16-multiprocessors-at-most-8-GiB-10.3.0.cache"
    assert jobs[0].timing_cache == (tmp_path / folder / name if folder else None)
