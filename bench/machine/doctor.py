"""Capabilities of a machine, judged from its facts alone."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from bench.machine.facts import Capability, Facts
from bench.machine.gpu_rows import engine_row, gpu_rows
from bench.machine.system import BF16_FEATURES, INT8_FEATURES
from export.common.errors import BadInput, NotPossible
from export.common.extras import install_command
from export.common.interface import PRECISIONS
from export.engine.plan import DEFAULT_RTX_TARGETS, RTX_TARGETS
from export.runtime.onnx_runtime import WRONG_INT8, int8_is_wrong
from export.runtime.openvino import SATURATES

SCHEMA_VERSION = "1.1"

ENOUGH_DISK_BYTES = 1 << 30
"""The fp32 files of L take 70 MB; other precisions, temporary files and records multiply that."""
ENOUGH_MEMORY_BYTES = 2 << 30
"""An export of L peaks at 1.1 GB."""
SETUP = "run `make setup`"


def capabilities(facts: Facts) -> tuple[Capability, ...]:
    """Return all capabilities in the order in which a user needs them."""
    return (
        _export(facts),
        _room(facts),
        _build_tensorrt(facts),
        _build_tensorrt_rtx(facts),
        _pytorch(facts),
        *_onnx_runtime(facts),
        *_openvino(facts),
        *gpu_rows(facts),
    )


def report(facts: Facts) -> dict[str, Any]:
    """Return facts and capabilities as plain data."""
    rows = [
        {"name": c.name, "about": c.about, "available": c.available, "why": c.reason, "do": c.advice}
        for c in capabilities(facts)
    ]
    return {"schema_version": SCHEMA_VERSION, "facts": asdict(facts), "capabilities": rows}


def require(available: Sequence[Capability], names: Iterable[str]) -> None:
    """Check that this machine has the named capabilities.

    Raises:
        BadInput: no such capability.
        NotPossible: the machine does not have it, or that could not be found out.
    """
    known = {capability.name: capability for capability in available}
    for name in names:
        if (capability := known.get(name)) is None:
            raise BadInput("--require knows no such capability", name, f"give one of {', '.join(known)}")
        if capability.available != "yes":
            problem, detail = f"this machine cannot: {capability.about}", f"{capability.available}: {capability.reason}"
            raise NotPossible(problem, detail, capability.advice or "use another machine")


def _export(facts: Facts) -> Capability:
    about, needed = "write an ONNX file and prove it", ("torch", "onnx", "onnxscript", "onnxruntime")
    missing = [name for name in needed if facts.packages[name] is None]
    if missing:
        return Capability("export", about, "no", f"not installed: {', '.join(missing)}", SETUP)
    return Capability("export", about, "yes", f"{', '.join(needed)} are installed")


def _room(facts: Facts) -> Capability:
    about = "room for an export: 2 GiB of memory, 1 GiB on the disk"
    if facts.memory.value is None or facts.disk.value is None:
        return Capability("room", about, "unknown", facts.memory.trouble or facts.disk.trouble)
    if facts.temporary.value is None:
        return Capability("room", about, "no", facts.temporary.trouble, "set TMPDIR")
    memory, disk = facts.memory.value[1], facts.disk.value
    reason = f"free: {memory / 2**30:.1f} GiB of memory, {disk / 2**30:.1f} GiB on the disk"
    if memory >= ENOUGH_MEMORY_BYTES and disk >= ENOUGH_DISK_BYTES:
        return Capability("room", about, "yes", reason)
    return Capability("room", about, "no", reason, "free some space, or give another OUT")


def _build_tensorrt(facts: Facts) -> Capability:
    row = engine_row(facts, "tensorrt", "build-tensorrt", "build a TensorRT engine, for this machine's GPU")
    if facts.packages["tensorrt"] is None:
        return replace(row, advice=f"{row.advice}, where there is an NVIDIA GPU; JetPack brings its own")
    if not facts.gpus.value:
        return replace(row, advice="TensorRT tunes on a GPU: build on the device that will run it")
    return row


def _build_tensorrt_rtx(facts: Facts) -> Capability:
    name = "build-tensorrt-rtx"
    about = f"build a TensorRT-RTX engine ahead of time, for any of {', '.join(RTX_TARGETS)}"
    if (installed := facts.packages["tensorrt-rtx"]) is None:
        advice = f"{install_command('tensorrt_rtx')}; it does not build for Jetson"
        return Capability(name, about, "no", "tensorrt-rtx is not installed", advice)
    reason = f"tensorrt-rtx {installed}, needs no GPU; by default {', '.join(DEFAULT_RTX_TARGETS)}"
    return Capability(name, about, "yes", reason)


def _pytorch(facts: Facts) -> Capability:
    name, about = "run-pytorch-fp32", "run the reference on the CPU"
    if facts.packages["torch"] is None:
        return Capability(name, about, "no", "torch is not installed", SETUP)
    return Capability(name, about, "yes", "torch is installed")


def _onnx_runtime(facts: Facts) -> Iterator[Capability]:
    about = "run the {} ONNX file on the CPU"
    if (installed := facts.packages["onnxruntime"]) is None:
        for precision in ("fp32", "fp16", "int8"):
            name, advice = f"run-onnxruntime-{precision}", "pip install onnxruntime"
            yield Capability(name, about.format(precision), "no", "onnxruntime is not installed", advice)
        return
    yield Capability("run-onnxruntime-fp32", about.format("fp32"), "yes", f"onnxruntime {installed}")
    reason = "correct, and no faster: operators without an FP16 kernel are computed in FP32"
    yield Capability("run-onnxruntime-fp16", about.format("fp16"), "yes", reason)
    yield _onnx_runtime_int8(facts, installed, about.format("int8"))
    reason = "ONNX Runtime has no BF16 convolution for the CPU"
    yield Capability("run-onnxruntime-bf16", about.format("bf16"), "no", reason, "run it with OpenVINO, or on a GPU")


def _onnx_runtime_int8(facts: Facts, installed: str, about: str) -> Capability:
    name = "run-onnxruntime-int8"
    if int8_is_wrong(installed):
        return Capability(name, about, "no", f"onnxruntime {installed} {WRONG_INT8}", SETUP)
    if facts.features.value is None:
        return Capability(name, about, "yes", f"speed unknown: {facts.features.trouble}")
    fast = _features(facts, INT8_FEATURES)
    reason = f"with {fast}" if fast else "without instructions for INT8: correct, seldom faster than fp32"
    return Capability(name, about, "yes", reason)


def _openvino(facts: Facts) -> Iterator[Capability]:
    about, installed = "run the {} ONNX file on the CPU with OpenVINO", facts.packages["openvino"]
    if installed is None:
        for precision in PRECISIONS:
            name, advice = f"run-openvino-{precision}", install_command("openvino")
            yield Capability(name, about.format(precision), "no", "openvino is not installed", advice)
        return
    fast = _features(facts, BF16_FEATURES)
    bf16 = f"with {fast}" if fast else "computed in FP32, without instructions for BF16: correct, not faster"
    reasons = {"fp32": f"openvino {installed}", "fp16": "computed in FP32: no gain in speed", "bf16": bf16}
    for precision, reason in reasons.items():
        yield Capability(f"run-openvino-{precision}", about.format(precision), "yes", reason)
    yield _openvino_int8(facts, about.format("int8"))


def _openvino_int8(facts: Facts, about: str) -> Capability:
    """Judge by the processor's features; a session tries the largest product first."""
    name = "run-openvino-int8"
    if facts.system.endswith("x86_64") and facts.features.value is not None:
        if exact := _features(facts, INT8_FEATURES):
            return Capability(name, about, "yes", f"with {exact}, which adds products up in 32 bits")
        advice = "run it with ONNX Runtime, or on a processor with VNNI or AMX"
        return Capability(name, about, "no", SATURATES, advice)
    reason = facts.features.trouble or "exact sums of int8 products were not tried on such a processor"
    advice = "run it: the largest product is tried first, and a wrong sum is refused"
    return Capability(name, about, "unknown", reason, advice)


def _features(facts: Facts, names: Sequence[str]) -> str:
    """Return those of these features that the processor has, joined by commas."""
    return ", ".join(name for name in facts.features.value or () if name in names)
