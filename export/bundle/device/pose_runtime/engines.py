"""The engine that may be loaded on this device: one that was built here, or else one of the bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import partial
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
    place: str

    @property
    def engine(self) -> Engine:
        """The engine, as a session takes it."""
        record = self.record
        file = str(engine_path(record)) if self.place == BUILT_HERE else self.place
        profile = tuple(tuple(record["profile"][name]) for name in ("min", "opt", "max"))
        rebuild = rebuild_command(record["runtime"], record["precision"])
        return Engine(self.content, file, record["precision"], profile, record["version_compatible"], rebuild)


def find_engine(bundle: Bundle, product: Product, precision: str, version: str, gpu: Gpu) -> StoredEngine:
    """Return the engine of this precision that fits.

    Raises:
        CheckFailed: the engine that should fit has other bytes than its record or the manifest says.
        NotPossible: none fits this version and this GPU; names the reasons, and the command that builds one.
    """
    source, reasons = bundle.onnx(precision)["sha256"], []
    candidates: list[tuple[str, dict[str, Any], Callable[[], bytes]]] = [
        *((BUILT_HERE, record, partial(engine_content, record)) for record in stored_records(product.module, source)),
        *(
            (entry["path"], entry, partial(bundle.content, entry["path"]))
            for entry in bundle.engines(product.module, precision)
        ),
    ]
    for place, record, read in candidates:
        reason = misfit(record, product, source, version, gpu)
        if not reason:
            content = read()
            reason = wrong_header(content, product, version, compatible=record["version_compatible"])
            if not reason:
                return StoredEngine(record, content, place)
        reasons.append(f"{place}: {reason}")
    value = "; ".join(reasons) or "none in the bundle, none was built here"
    advice = f"build one: {rebuild_command(product.module, precision)}"
    raise NotPossible(f"no {precision} engine for {product.name} {version} on {gpu.in_full}", value, advice)


def misfit(record: Mapping[str, Any], product: Product, onnx_sha256: str, version: str, gpu: Gpu) -> str:
    """Return why an engine with this record may not be loaded; empty if it may."""
    if record["onnx_sha256"] != onnx_sha256:
        return "built from another ONNX file"
    reason = wrong_version(product, record["package_version"], version, compatible=record["version_compatible"])
    if reason:
        return str(reason)
    tuned_on = None
    if record["gpu"] is not None:
        try:
            tuned_on = Gpu(record["gpu"], *(record[name] for name in GPU_FIELDS[1:]))
        except KeyError as error:
            return f"tuned on {record['gpu']}, but the record of an older build.py lacks {error.args[0]}"
    return str(wrong_gpu(gpu, record["targets"], tuned_on, hardware_compatible=record["hardware_compatible"]))


def record_gpu(gpu: Gpu | None) -> dict[str, Any]:
    """Return a record's fields of the GPU that the builder timed kernels on; None: it timed none."""
    values = dict.fromkeys(GPU_FIELDS) if gpu is None else asdict(gpu)
    return {"gpu": values.pop("name"), **values}


def rebuild_command(runtime: str, precision: str) -> str:
    """Return the command that builds an engine on the device."""
    return f"python3 build.py --runtime {runtime} --precision {precision}"
