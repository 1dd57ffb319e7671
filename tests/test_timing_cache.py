"""The timing cache, on the real bindings of TensorRT-RTX, which have the same calls."""

import importlib
from pathlib import Path

import pytest

from export.engine_worker import make_logger
from export.errors import CheckFailed
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
