"""Which engine may be loaded here: judged before the library sees it, which executes what it is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pose_runtime.bundle import Bundle
from pose_runtime.engine_cache import built_here, engine_content, engine_path
from pose_runtime.errors import NotPossible
from pose_runtime.gpu import Gpu

HEADER_BYTES = 28
BUILT_HERE = "built on this device"
AMPERE = 8.0
"""The compute capability from which on hardware compatible engines run."""
SAME_MEMORY = 0.1
"""What a module's memory may seem to differ by: a Jetson's kernel sets some of it aside, how much depends on settings.
Modules of one generation are made with 4, 8, 16, 32 or 64 GB."""


class Product(NamedTuple):
    """What differs between the two libraries before an engine is loaded."""

    module: str
    name: str
    magic: bytes
    """The first four bytes of its engines."""
    oldest: int
    """The first major version whose networks keep the types of their ONNX file: strongly typed ones."""


TENSORRT = Product("tensorrt", "TensorRT", b"ftrt", 10)
TENSORRT_RTX = Product("tensorrt_rtx", "TensorRT-RTX", b"vtrt", 1)
PRODUCTS = {product.module: product for product in (TENSORRT, TENSORRT_RTX)}


class Engine(NamedTuple):
    """An engine that fits, with the very bytes that were checked."""

    record: dict[str, Any]
    content: bytes
    place: str

    @property
    def file(self) -> str:
        """The file's name, for who has to look at it."""
        return str(engine_path(self.record)) if self.place == BUILT_HERE else self.place


def require_recent(product: Product, version: str) -> None:
    """See that this version can build and run the bundle's engines at all.

    Raises:
        NotPossible: it is too old.
    """
    if numbers(version)[0] >= product.oldest:
        return
    what = f"{product.name} {version} is too old for this bundle"
    seen = f"strongly typed networks, which its precisions need, came with {product.oldest}"
    do = "JetPack 6.1 and newer bring one; here run the processor: pip install onnxruntime (or openvino), and name it "
    raise NotPossible(what, seen, do + "with --runtime")


def find_engine(bundle: Bundle, product: Product, precision: str, version: str, gpu: Gpu) -> Engine:
    """The engine of this precision that fits: one that was built here, or else one of the bundle.

    Raises:
        CheckFailed: the one that should fit has other bytes than its record or the manifest says.
        NotPossible: none fits this version and this GPU; the reasons, and the command that builds one.
    """
    source, reasons = bundle.onnx(precision)["sha256"], []
    candidates: list[tuple[str, dict[str, Any], Callable[[], bytes]]] = []
    for record in built_here(product.module, source):
        candidates.append((BUILT_HERE, record, lambda record=record: engine_content(record)))  # type: ignore[misc]
    for record in bundle.engines(product.module, precision):
        candidates.append((record["path"], record, lambda record=record: bundle.content(record["path"])))  # type: ignore[misc]
    for place, record, read in candidates:
        reason = misfit(record, product, source, version, gpu)
        if not reason:
            content = read()
            reason = wrong_header(content, product, version, compatible=record["version_compatible"])
            if not reason:
                return Engine(record, content, place)
        reasons.append(f"{place}: {reason}")
    seen = "; ".join(reasons) or "none in the bundle, none was built here"
    do = f"build one: {rebuild_command(product.module, precision)}"
    raise NotPossible(f"no {precision} engine for {product.name} {version} on {gpu}", seen, do)


def misfit(record: Mapping[str, Any], product: Product, onnx_sha256: str, version: str, gpu: Gpu) -> str:
    """Why an engine with this record may not be loaded; empty if it may.

    Engines do not load in other releases, version compatible ones not in earlier ones.
    """
    if record["onnx_sha256"] != onnx_sha256:
        return "built from another ONNX file"
    built_by, installed = numbers(record["package_version"]), numbers(version)
    if not (built_by == installed or (record["version_compatible"] and built_by < installed)):
        return f"built by {product.name} {record['package_version']}, and {version} is installed"
    if record["targets"] and gpu.compute_capability not in record["targets"]:
        return f"built for compute capability {', '.join(record['targets'])}, and this GPU has {gpu.compute_capability}"
    if record["hardware_compatible"] and float(gpu.compute_capability) >= AMPERE:
        return ""
    return "" if record["gpu"] is None else other_gpu(record, gpu)


def tuned_on(gpu: Gpu | None) -> dict[str, Any]:
    """What the record says of the GPU that the builder has timed kernels on; None: it has timed none."""
    about = dict.fromkeys(Gpu._fields) if gpu is None else gpu._asdict()
    return {"gpu": about.pop("name"), **about}


def other_gpu(record: Mapping[str, Any], gpu: Gpu) -> str:
    """In what the GPU differs that an engine was tuned on; empty if in nothing."""
    if record["gpu"] != gpu.name:
        return f"tuned on {record['gpu']}, and this is {gpu.name}"
    try:
        tuned = Gpu(record["gpu"], *(record[name] for name in Gpu._fields[1:]))
    except KeyError as error:
        return f"tuned on {gpu.name}, but its record, of an older build.py, does not tell {error.args[0]}"
    same = tuned[1] == gpu[1] and tuned.multiprocessors == gpu.multiprocessors
    if not (same and abs(tuned.memory_bytes - gpu.memory_bytes) <= SAME_MEMORY * gpu.memory_bytes):
        return f"tuned on {tuned}, and this is {gpu}"
    return ""


def wrong_header(content: bytes, product: Product, version: str, *, compatible: bool) -> str:
    """What is wrong with an engine's first bytes; empty if nothing is."""
    if len(content) < HEADER_BYTES or content[:4] != product.magic:
        return f"no engine of {product.name}: it begins with {content[:4]!r}"
    written = list(content[24:27])
    if written != numbers(version) and not (compatible and written < numbers(version)):
        return f"its header says version {'.'.join(map(str, written))}, and {version} is installed"
    return ""


def numbers(version: str) -> list[int]:
    """``"10.3.0.26"`` → ``[10, 3, 0]``."""
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


def rebuild_command(runtime: str, precision: str) -> str:
    """What builds an engine on the device."""
    return f"python3 build.py --runtime {runtime} --precision {precision}"
