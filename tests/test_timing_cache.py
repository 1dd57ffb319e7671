"""The timing cache, on the real bindings of TensorRT-RTX, which have the same calls."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from export import engine
from export.engine_worker import make_logger
from export.errors import CheckFailed
from export.progress import Progress
from export.tensorrt_api import IBuilderConfig, TensorRT
from export.timing_cache import keep_timing_cache, timing_cache_path, use_timing_cache

pytest.importorskip("tensorrt_rtx")
pytestmark = pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")


@pytest.fixture(scope="module")
def config() -> IBuilderConfig:
    trt: TensorRT = importlib.import_module("tensorrt_rtx")
    return trt.Builder(make_logger(trt, lambda _: None, [])).create_builder_config()


def test_a_cache_is_of_one_gpu_and_one_version(tmp_path: Path) -> None:
    paths = {timing_cache_path(tmp_path, gpu, version) for gpu in ("Orin (nvgpu)", "A/../b") for version in "12"}
    assert len(paths) == 4
    assert {path.parent for path in paths} == {tmp_path / "timing"}


def test_what_is_kept_is_used_again(tmp_path: Path, config: IBuilderConfig) -> None:
    path = timing_cache_path(tmp_path, "a GPU", "1")
    use_timing_cache(config, path)
    keep_timing_cache(config, path)
    assert path.stat().st_size > 0
    use_timing_cache(config, path)


class Refuses:
    """A builder that does not take a cache unless it is empty, or not even then."""

    def __init__(self, empty_too: bool) -> None:
        self.empty_too = empty_too
        self.taken: list[bytes] = []

    def create_timing_cache(self, serialized: bytes) -> bytes:
        return serialized

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        self.taken.append(cache)
        return not cache and not self.empty_too


def test_another_builder_s_cache_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"of another version")
    builder = Refuses(empty_too=False)
    use_timing_cache(builder, tmp_path / "cache")  # type: ignore[arg-type]
    assert builder.taken == [b"of another version", b""]
    with pytest.raises(CheckFailed):
        use_timing_cache(Refuses(empty_too=True), tmp_path / "cache")  # type: ignore[arg-type]


@pytest.mark.parametrize("named", [True, False])
def test_a_build_on_a_gpu_keeps_its_cache_where_the_next_finds_it(
    tmp_path: Path, typed_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """The folder that a step works in is gone when it ends, so the cache must lie elsewhere."""
    jobs: list[dict[str, Any]] = []

    def worker(job: dict[str, Any], progress: object) -> None:
        jobs.append(job)
        raise CheckFailed("stopped here", "", "")

    monkeypatch.setattr(engine, "choose_runtime", lambda: engine.Choice(engine.TENSORRT, "a GPU", ""))
    monkeypatch.setattr(engine, "_run_worker", worker)
    kept = tmp_path / "kept" if named else None
    with pytest.raises(CheckFailed, match="stopped here"):
        engine.build_engine(typed_files["fp32"], tmp_path / "made/e", engine.EnginePlan(), timing_folder=kept)
    assert Path(jobs[0]["timing_cache"]).parent == tmp_path / ("kept" if named else "made") / "timing"


def test_what_is_built_ahead_of_time_times_nothing(
    tmp_path: Path, typed_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    inner = engine._run_worker

    def worker(job: dict[str, Any], progress: Progress) -> Any:
        seen.append(job)
        return inner(job, progress)

    monkeypatch.setattr(engine, "_run_worker", worker)
    engine.build_engine(typed_files["fp32"], tmp_path / "e", engine.EnginePlan(targets=("8.6",)))
    assert "timing_cache" not in seen[0]
