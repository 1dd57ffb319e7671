"""The engine that may be loaded on this device: one that was built here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, NamedTuple

from pose_runtime.bundle import Bundle
from pose_runtime.engine_cache import engine_content, engine_path, stored_records
from pose_runtime.runtime.engine_file import Product, wrong_gpu, wrong_header, wrong_version
from pose_runtime.runtime.errors import NotPossible
from pose_runtime.runtime.gpu import Gpu
from pose_runtime.runtime.tensorrt import Engine

BUILT_HERE = "built on this device"
GPU_FIELDS = [field.name for field in fields(Gpu)]


class StoredEngine(NamedTuple):
    """An engine that fits, with the very bytes that were checked."""

    record: dict[str, Any]
    content: bytes

    @property
    def engine(self) -> Engine:
        """The engine, as a session takes it."""
        record = self.record
        profile = tuple(tuple(record["profile"][name]) for name in ("min", "opt", "max"))
        rebuild = rebuild_command(record["runtime"], record["precision"])
        return Engine(self.content, str(engine_path(record)), record["precision"], profile, False, rebuild)


def find_engine(bundle: Bundle, product: Product, precision: str, version: str, gpu: Gpu) -> StoredEngine:
    """Return the engine of this precision that was built on this device and fits.

    Raises:
        CheckFailed: the engine that should fit has other bytes than its record says.
        NotPossible: none fits this version and this GPU; names the reasons, and the command that builds one.
    """
    reasons = []
    for record in stored_records(product.module, bundle.onnx(precision)["sha256"]):
        reason = misfit(record, product, version, gpu)
        if not reason:
            content = engine_content(record)
            reason = wrong_header(content, product, version, compatible=False)
            if not reason:
                return StoredEngine(record, content)
        reasons.append(reason)
    value = "; ".join(reasons) or "none was built here"
    advice = f"build one: {rebuild_command(product.module, precision)}"
    raise NotPossible(f"no {precision} engine for {product.name} {version} on {gpu.in_full}", value, advice)


def misfit(record: Mapping[str, Any], product: Product, version: str, gpu: Gpu) -> str:
    """Return why an engine with this record may not be loaded; empty if it may."""
    reason = wrong_version(product, record["package_version"], version, compatible=False)
    if reason:
        return str(reason)
    tuned_on = None
    if record["gpu"] is not None:
        try:
            tuned_on = Gpu(record["gpu"], *(record[name] for name in GPU_FIELDS[1:]))
        except KeyError as error:
            return f"tuned on {record['gpu']}, but the record of an older build.py lacks {error.args[0]}"
    return str(wrong_gpu(gpu, record["targets"], tuned_on, hardware_compatible=False))


def record_gpu(gpu: Gpu | None) -> dict[str, Any]:
    """Return a record's fields of the GPU that the builder timed kernels on; None: it timed none."""
    values = dict.fromkeys(GPU_FIELDS) if gpu is None else asdict(gpu)
    return {"gpu": values.pop("name"), **values}


def rebuild_command(runtime: str, precision: str) -> str:
    """Return the command that builds an engine on the device."""
    return f"python3 build.py --runtime {runtime} --precision {precision}"
