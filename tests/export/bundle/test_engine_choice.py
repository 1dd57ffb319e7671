"""Which engine a device may load, and which it never does."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pose_runtime
import pytest
from pose_runtime import engine_cache
from pose_runtime.bundle import Bundle
from pose_runtime.engine_cache import built_here, engine_content, keep_engine
from pose_runtime.engines import GPU_FIELDS, find_engine, misfit
from pose_runtime.runtime.engine_file import TENSORRT, TENSORRT_RTX, Product, require_recent, wrong_header
from pose_runtime.runtime.gpu import Gpu

from tests.export.bundle.engines import ADA, ORIN, record
from tests.support.bundles import copied, flip_last, rewrite


@pytest.mark.parametrize(
    ("change", "version", "device", "said"),
    [
        ({}, "10.3.0.26", ORIN, ""),
        ({"onnx_sha256": "b"}, "10.3.0.26", ORIN, "built from another ONNX file"),
        ({}, "10.13.3.9", ORIN, "10.13.3.9 is installed"),
        ({"version_compatible": True}, "10.13.3.9", ORIN, ""),
        ({}, "10.3.0.26", ADA, "NVIDIA GeForce RTX 4090"),
        ({"hardware_compatible": True}, "10.3.0.26", ADA, ""),
        ({}, "10.3.0.26", replace(ORIN, multiprocessors=16), "(8.7, 16"),
        ({}, "10.3.0.26", replace(ORIN, memory_bytes=16 << 30), "(8.7, 8 multiprocessors, 1"),
        ({}, "10.3.0.26", replace(ORIN, memory_bytes=int(7.4 * 2**30)), ""),  # its kernel keeps some for itself
        ({"gpu": None, "targets": ["8.6", "8.9"]}, "10.3.0.26", ADA, ""),
        ({"gpu": None, "targets": ["8.6", "8.9"]}, "10.3.0.26", ORIN, "8.6, 8.9, and this GPU is Orin"),
    ],
)
def test_engines_of_another_version_or_gpu(change: dict[str, Any], version: str, device: Gpu, said: str) -> None:
    seen = misfit(record(**change), TENSORRT, "a", version, device)
    assert said in seen
    assert bool(said) == bool(seen)


def test_a_record_that_does_not_tell_the_gpu_is_not_believed() -> None:
    """As an earlier build.py wrote it."""
    old = {name: value for name, value in record().items() if name not in GPU_FIELDS[1:]}
    assert "its record, of an older build.py, does not tell" in misfit(old, TENSORRT, "a", "10.3.0.26", ORIN)


@pytest.mark.parametrize(
    ("product", "version", "too_old"),
    [(TENSORRT, "8.5.2.2", True), (TENSORRT, "10.0.1", False), (TENSORRT_RTX, "1.7.1.116", False)],
)
def test_a_tensorrt_without_strong_types_is_told_what_to_do(product: Product, version: str, too_old: bool) -> None:
    if not too_old:
        require_recent(product, version)
        return
    with pytest.raises(pose_runtime.NotPossible, match=f"{version} is too old"):
        require_recent(product, version)


HEADER = b"ftrt" + bytes(20) + bytes([10, 3, 0, 26])


@pytest.mark.parametrize(
    ("content", "compatible", "said"),
    [
        (HEADER, False, ""),
        (HEADER[:27], False, "no engine of TensorRT"),
        (b"ONNX" + HEADER[4:], False, "it begins with b'ONNX'"),
        (HEADER[:24] + bytes([10, 2, 0, 1]), False, "version 10.2.0"),
        (HEADER[:24] + bytes([10, 2, 0, 1]), True, ""),
    ],
)
def test_what_an_engine_begins_with(content: bytes, compatible: bool, said: str) -> None:
    seen = wrong_header(content, TENSORRT, "10.3.0.26", compatible=compatible)
    assert said in seen
    assert bool(said) == bool(seen)


def test_an_engine_that_was_built_here_is_found_and_one_that_was_laid_there_is_not(
    once_bundle: Path, cached: Path
) -> None:
    bundle, version = Bundle(once_bundle), "10.3.0.26"
    source = bundle.onnx("fp16")["sha256"]
    with pytest.raises(pose_runtime.NotPossible) as caught:
        find_engine(bundle, TENSORRT, "fp16", version, ORIN)
    assert "none in the bundle, none was built here" in caught.value.detail
    assert caught.value.advice == "build one: python3 build.py --runtime tensorrt --precision fp16"
    cached.mkdir(mode=0o700)
    (cached / f"{'0' * 64}.engine").write_bytes(HEADER)  # without a record
    (cached / "planted.json").write_text(json.dumps(record(schema_version="1.0", onnx_sha256=source, sha256="0" * 64)))
    (cached / "broken.json").write_text("{")
    with pytest.raises(pose_runtime.NotPossible, match="none was built here"):
        find_engine(bundle, TENSORRT, "fp16", version, ORIN)
    path = keep_engine(HEADER, record(onnx_sha256=source))
    found = find_engine(bundle, TENSORRT, "fp16", version, ORIN)
    assert (found.content, found.place) == (HEADER, "built on this device")
    assert path.stat().st_mode & 0o777 == 0o644
    with pytest.raises(pose_runtime.NotPossible, match="tuned on Orin"):
        find_engine(bundle, TENSORRT, "fp16", version, ADA)
    path.write_bytes(flip_last(HEADER))
    with pytest.raises(pose_runtime.CheckFailed, match="was changed since it was built"):
        find_engine(bundle, TENSORRT, "fp16", version, ORIN)
    path.unlink()
    with pytest.raises(pose_runtime.CheckFailed, match="cannot be read"):
        engine_content(built_here("tensorrt", source)[0])


def test_a_cache_that_others_may_write_in_is_not_believed(once_bundle: Path, cached: Path) -> None:
    source = Bundle(once_bundle).onnx("fp16")["sha256"]
    keep_engine(HEADER, record(onnx_sha256=source))
    cached.chmod(0o777)
    for use in (lambda: built_here("tensorrt", source), lambda: keep_engine(HEADER, record())):
        with pytest.raises(pose_runtime.CheckFailed, match="others may write in"):
            use()


@pytest.mark.parametrize("ending", ["engine", "json"])
def test_a_file_that_others_may_write_to_is_not_believed(once_bundle: Path, cached: Path, ending: str) -> None:
    """Whoever only shuts the folder again would load what was laid there before."""
    source = Bundle(once_bundle).onnx("fp16")["sha256"]
    path = keep_engine(HEADER, record(onnx_sha256=source)).with_suffix(f".{ending}")
    path.chmod(0o666)
    with pytest.raises(pose_runtime.CheckFailed, match="mode 666"):
        find_engine(Bundle(once_bundle), TENSORRT, "fp16", "10.3.0.26", ORIN)


def test_a_file_of_somebody_else_is_not_believed(
    once_bundle: Path, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Bundle(once_bundle).onnx("fp16")["sha256"]
    keep_engine(HEADER, record(onnx_sha256=source))
    folder, own = cached.stat(), os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    monkeypatch.setattr(engine_cache, "_require_own", lambda folder: None)
    with pytest.raises(pose_runtime.CheckFailed, match=f"owner {folder.st_uid}, mode 644"):
        built_here("tensorrt", source)


def test_engines_of_the_bundle_are_for_the_gpus_that_it_names(once_bundle: Path, cached: Path, tmp_path: Path) -> None:
    bundle = Bundle(once_bundle)
    if not bundle.engines("tensorrt_rtx", "fp16"):
        pytest.skip("tensorrt_rtx is not installed")
    version = bundle.engines("tensorrt_rtx", "fp16")[0]["package_version"]
    found = find_engine(bundle, TENSORRT_RTX, "fp16", version, ADA)
    assert found.content[:4] == b"vtrt"
    with pytest.raises(pose_runtime.NotPossible, match=r"8\.7"):
        find_engine(bundle, TENSORRT_RTX, "fp16", version, ORIN)
    changed = copied(once_bundle, tmp_path)
    rewrite(changed / found.place, flip_last)
    with pytest.raises(pose_runtime.CheckFailed, match="was changed"):
        find_engine(Bundle(changed), TENSORRT_RTX, "fp16", version, ADA)
