"""The engines that a device may load, and those that it must refuse."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pose_runtime
import pytest
from pose_runtime import engine_cache
from pose_runtime.bundle import Bundle
from pose_runtime.engine_cache import engine_content, store_engine, stored_records
from pose_runtime.engines import GPU_FIELDS, StoredEngine, find_engine, misfit
from pose_runtime.runtime.engine_file import TENSORRT, TENSORRT_RTX, Product, require_recent, wrong_header
from pose_runtime.runtime.gpu import Gpu

from tests.export.bundle.engines import ADA, ORIN, VERSION, record
from tests.support.bundles import flip_last

LATER = "10.13.3.9"
HEADER = b"ftrt" + bytes(20) + bytes([10, 3, 0, 26])


@pytest.mark.parametrize(
    ("change", "version", "gpu", "reason"),
    [
        ({}, VERSION, ORIN, ""),
        ({}, LATER, ORIN, f"{LATER} is installed"),
        ({}, VERSION, ADA, "NVIDIA GeForce RTX 4090"),
        ({}, VERSION, replace(ORIN, multiprocessors=16), "(8.7, 16"),
        ({}, VERSION, replace(ORIN, memory_bytes=16 << 30), "(8.7, 8 multiprocessors, 1"),
        ({}, VERSION, replace(ORIN, memory_bytes=int(7.4 * 2**30)), ""),  # its kernel keeps some for itself
        ({"gpu": None, "targets": ["8.6", "8.9"]}, VERSION, ADA, ""),
        ({"gpu": None, "targets": ["8.6", "8.9"]}, VERSION, ORIN, "8.6, 8.9, and this GPU is Orin"),
    ],
)
def test_engines_of_another_version_or_gpu_are_refused(
    change: dict[str, Any], version: str, gpu: Gpu, reason: str
) -> None:
    misfits = misfit(record(**change), TENSORRT, version, gpu)
    assert reason in misfits
    assert bool(reason) == bool(misfits)


def test_a_record_without_a_whole_gpu_is_refused() -> None:
    """As an earlier build.py wrote it."""
    old = {name: value for name, value in record().items() if name not in GPU_FIELDS[1:]}
    assert "older build.py" in misfit(old, TENSORRT, VERSION, ORIN)


@pytest.mark.parametrize(
    ("product", "version", "too_old"),
    [(TENSORRT, "8.5.2.2", True), (TENSORRT, "10.0.1", False), (TENSORRT_RTX, "1.7.1.116", False)],
)
def test_a_tensorrt_without_strong_types_is_refused(product: Product, version: str, too_old: bool) -> None:
    if not too_old:
        require_recent(product, version)
        return
    with pytest.raises(pose_runtime.NotPossible, match=f"{version} is too old"):
        require_recent(product, version)


@pytest.mark.parametrize(
    ("content", "compatible", "reason"),
    [
        (HEADER, False, ""),
        (HEADER[:27], False, "no engine of TensorRT"),
        (b"ONNX" + HEADER[4:], False, "it begins with b'ONNX'"),
        (HEADER[:24] + bytes([10, 2, 0, 1]), False, "version 10.2.0"),
        (HEADER[:24] + bytes([10, 2, 0, 1]), True, ""),
    ],
)
def test_header_of_an_engine(content: bytes, compatible: bool, reason: str) -> None:
    wrong = wrong_header(content, TENSORRT, VERSION, compatible=compatible)
    assert reason in wrong
    assert bool(reason) == bool(wrong)


class Cache:
    """The cache folder, with one engine from the bundle's FP16 file when ``store`` was called."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        self.folder, self.bundle = folder, Bundle(bundle)
        self.source = self.bundle.onnx("fp16")["sha256"]

    def store(self) -> Path:
        return store_engine(HEADER, record(onnx_sha256=self.source))

    def find(self, gpu: Gpu = ORIN) -> StoredEngine:
        return find_engine(self.bundle, TENSORRT, "fp16", VERSION, gpu)


@pytest.fixture
def cache(cached: Path, once_bundle: Path) -> Cache:
    return Cache(cached, once_bundle)


def test_only_engines_with_a_record_of_this_device_are_found(cache: Cache) -> None:
    with pytest.raises(pose_runtime.NotPossible) as error:
        cache.find()
    assert "none was built here" in error.value.detail
    assert error.value.advice == "build one: python3 build.py --runtime tensorrt --precision fp16"
    cache.folder.mkdir(mode=0o700)
    (cache.folder / f"{'0' * 64}.engine").write_bytes(HEADER)  # without a record
    planted = record(schema_version="1.0", onnx_sha256=cache.source, sha256="0" * 64)
    (cache.folder / "planted.json").write_text(json.dumps(planted))
    (cache.folder / "broken.json").write_text("{")
    with pytest.raises(pose_runtime.NotPossible, match="none was built here"):
        cache.find()
    path = cache.store()
    assert path.stat().st_mode & 0o777 == 0o644
    assert cache.find().content == HEADER
    with pytest.raises(pose_runtime.NotPossible, match="tuned on Orin"):
        cache.find(ADA)
    path.write_bytes(flip_last(HEADER))
    with pytest.raises(pose_runtime.CheckFailed, match="was changed since it was built"):
        cache.find()
    path.unlink()
    with pytest.raises(pose_runtime.CheckFailed, match="cannot be read"):
        engine_content(stored_records("tensorrt", cache.source)[0])


def test_a_folder_that_others_may_write_in_is_refused(cache: Cache) -> None:
    cache.store()
    cache.folder.chmod(0o777)
    for use in (cache.find, cache.store):
        with pytest.raises(pose_runtime.CheckFailed, match="others may write in"):
            use()


@pytest.mark.parametrize("suffix", [".engine", ".json"])
def test_a_file_that_others_may_write_to_is_refused(cache: Cache, suffix: str) -> None:
    """To close the folder again is not enough: another user may have put an engine there before."""
    cache.store().with_suffix(suffix).chmod(0o666)
    with pytest.raises(pose_runtime.CheckFailed, match="mode 666"):
        cache.find()


def test_a_file_of_another_user_is_refused(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store()
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    monkeypatch.setattr(engine_cache, "_require_private", lambda folder: None)
    with pytest.raises(pose_runtime.CheckFailed, match=f"owner {owner}, mode 644"):
        cache.find()
