"""What a machine can build and run, and what it lacks: judged from its facts alone."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bench.machine.facts import CUDA_PROVIDER, Facts
from bench.machine.system import BF16_FEATURES, INT8_FEATURES
from export.common.errors import BadInput, NotPossible
from export.common.gpu import NO_GPU
from export.common.interface import PRECISIONS
from export.engine.plan import DEFAULT_RTX_TARGETS, RTX_TARGETS
from export.runtime.onnx_runtime import WRONG_INT8, int8_is_wrong
from export.runtime.openvino import SATURATES

SCHEMA_VERSION = "1.0"
Verdict = Literal["yes", "no", "unknown"]

ENOUGH_DISK_BYTES = 1 << 30
"""The fp32 files of L take 70 MB; other precisions, files in the making and records multiply that."""
ENOUGH_MEMORY_BYTES = 2 << 30
"""An export of L peaks at 1.1 GB."""


@dataclass(frozen=True)
class Capability:
    """One thing to do with this project."""

    name: str
    """As ``--require`` takes it."""
    about: str
    available: Verdict
    why: str
    do: str = ""


def capabilities(facts: Facts) -> tuple[Capability, ...]:
    """All of them, in the order in which a user needs them."""
    return (
        _export(facts),
        _room(facts),
        *_engines(facts),
        *_cpu(facts),
        *_openvino(facts),
        _cuda_provider(facts),
        *_runners(facts),
    )


def report(facts: Facts) -> dict[str, Any]:
    """Facts and capabilities as plain data."""
    found = capabilities(facts)
    return {"schema_version": SCHEMA_VERSION, "facts": asdict(facts), "capabilities": [asdict(one) for one in found]}


def require(found: Iterable[Capability], names: Iterable[str]) -> None:
    """See that this machine can do what is named.

    Raises:
        BadInput: no such capability.
        NotPossible: it cannot, or it could not be found out.
    """
    known = {capability.name: capability for capability in found}
    for name in names:
        if (capability := known.get(name)) is None:
            raise BadInput("--require knows no such capability", name, f"give one of {', '.join(known)}")
        if capability.available != "yes":
            what = f"this machine cannot: {capability.about}"
            raise NotPossible(what, f"{capability.available}: {capability.why}", capability.do or "use another machine")


def _export(facts: Facts) -> Capability:
    about, needed = "write an ONNX file and prove it", ("torch", "onnx", "onnxscript", "onnxruntime")
    lacking = [name for name in needed if facts.packages[name] is None]
    if lacking:
        return Capability("export", about, "no", f"not installed: {', '.join(lacking)}", "run `make setup`")
    return Capability("export", about, "yes", f"{', '.join(needed)} are installed")


def _room(facts: Facts) -> Capability:
    about = "room for an export: 2 GiB of memory, 1 GiB on the disk"
    if facts.memory.value is None or facts.disk.value is None:
        return Capability("room", about, "unknown", facts.memory.trouble or facts.disk.trouble)
    free, disk = facts.memory.value[1], facts.disk.value
    enough = free >= ENOUGH_MEMORY_BYTES and disk >= ENOUGH_DISK_BYTES
    why = f"free: {free / 2**30:.1f} GiB of memory, {disk / 2**30:.1f} GiB on the disk"
    return Capability("room", about, "yes" if enough else "no", why, "" if enough else "make room, or give another OUT")


def _engines(facts: Facts) -> Iterable[Capability]:
    lack = _no_gpu(facts)
    about = "build a TensorRT engine, for this machine's GPU"
    if facts.packages["tensorrt"] is None:
        do = "pip install tensorrt, where there is an NVIDIA GPU; JetPack brings its own"
        yield Capability("build-tensorrt", about, "no", "tensorrt is not installed", do)
    elif lack:
        yield Capability(
            "build-tensorrt", about, *lack, "TensorRT tunes on a GPU: build on the device that will run it"
        )
    else:
        first = _first_gpu(facts)
        yield Capability("build-tensorrt", about, "yes", f"tensorrt {facts.packages['tensorrt']}, {first}")
    about = f"build a TensorRT-RTX engine ahead of time, for any of {', '.join(RTX_TARGETS)}"
    if facts.packages["tensorrt-rtx"] is None:
        do = "pip install tensorrt-rtx on x86-64; it does not build for Jetson"
        yield Capability("build-tensorrt-rtx", about, "no", "tensorrt-rtx is not installed", do)
    else:
        why = (
            f"tensorrt-rtx {facts.packages['tensorrt-rtx']}, needs no GPU; by default {', '.join(DEFAULT_RTX_TARGETS)}"
        )
        yield Capability("build-tensorrt-rtx", about, "yes", why)


def _cpu(facts: Facts) -> Iterable[Capability]:
    there = facts.packages["torch"] is not None
    why, do = ("torch is installed", "") if there else ("torch is not installed", "run `make setup`")
    yield Capability("run-pytorch-fp32", "run the reference on the CPU", "yes" if there else "no", why, do)
    about = "run the {} ONNX file on the CPU"
    if (installed := facts.packages["onnxruntime"]) is None:
        for precision in ("fp32", "fp16", "int8"):
            name, do = f"run-onnxruntime-{precision}", "pip install onnxruntime"
            yield Capability(name, about.format(precision), "no", "onnxruntime is not installed", do)
        return
    yield Capability("run-onnxruntime-fp32", about.format("fp32"), "yes", f"onnxruntime {installed}")
    why = "runs for correctness; what has no FP16 kernel is computed in FP32, so no gain in speed is to be expected"
    yield Capability("run-onnxruntime-fp16", about.format("fp16"), "yes", why)
    yield _onnx_runtime_int8(facts, installed, about.format("int8"))
    why = "ONNX Runtime has no BF16 convolution for the CPU"
    yield Capability("run-onnxruntime-bf16", about.format("bf16"), "no", why, "run it with OpenVINO, or on a GPU")


def _onnx_runtime_int8(facts: Facts, installed: str, about: str) -> Capability:
    name = "run-onnxruntime-int8"
    if int8_is_wrong(installed):
        return Capability(name, about, "no", f"onnxruntime {installed} {WRONG_INT8}", "run `make setup`")
    fast = [name for name in facts.features.value or () if name in INT8_FEATURES]
    why = f"with {', '.join(fast)}" if fast else "without instructions for INT8: correct, seldom faster than fp32"
    if facts.features.value is None:
        why = f"speed unknown: {facts.features.trouble}"
    return Capability(name, about, "yes", why)


def _openvino(facts: Facts) -> Iterable[Capability]:
    about, installed = "run the {} ONNX file on the CPU with OpenVINO", facts.packages["openvino"]
    if installed is None:
        for precision in PRECISIONS:
            why, do = "openvino is not installed", "pip install openvino"
            yield Capability(f"run-openvino-{precision}", about.format(precision), "no", why, do)
        return
    features = facts.features.value or ()
    fast = ", ".join(name for name in features if name in BF16_FEATURES)
    bf16 = (
        f"with {fast}" if fast else "computed in FP32, since no instructions for BF16 were found: correct, not faster"
    )
    reasons = {"fp32": f"openvino {installed}", "fp16": "computed in FP32: no gain in speed", "bf16": bf16}
    for precision, why in reasons.items():
        yield Capability(f"run-openvino-{precision}", about.format(precision), "yes", why)
    verdict, why, do = _openvino_int8(facts)
    yield Capability("run-openvino-int8", about.format("int8"), verdict, why, do)


def _openvino_int8(facts: Facts) -> tuple[Verdict, str, str]:
    """Told from the processor's features; whoever runs a file tries the largest product first."""
    features = facts.features.value
    if facts.system.endswith("x86_64") and features is not None:
        exact = ", ".join(name for name in features if name in INT8_FEATURES)
        if exact:
            return "yes", f"with {exact}, which adds products up in 32 bits", ""
        return "no", SATURATES, "run it with ONNX Runtime, or on a processor with VNNI or AMX"
    why = facts.features.trouble or "whether OpenVINO adds int8 products up exactly was not tried on such a processor"
    return "unknown", why, "run it: the largest product is tried first, and refused where it comes out wrong"


def _cuda_provider(facts: Facts) -> Capability:
    name, about = "run-onnxruntime-cuda", "run ONNX files on the GPU with ONNX Runtime"
    if facts.packages["onnxruntime"] is None:
        return Capability(name, about, "no", "onnxruntime is not installed", "pip install onnxruntime-gpu")
    if lack := _no_gpu(facts):
        return Capability(name, about, *lack, "that it is compiled in, as ONNX Runtime says, does not make it usable")
    if facts.cuda_session.value == CUDA_PROVIDER:
        return Capability(name, about, "yes", "a session for CUDA was made, and runs there")
    why = facts.cuda_session.trouble or f"the session fell back to {facts.cuda_session.value}"
    return Capability(name, about, "no", why, "install onnxruntime-gpu and the CUDA and cuDNN libraries that it names")


def _runners(facts: Facts) -> Iterable[Capability]:
    for package, product in (("tensorrt", "TensorRT"), ("tensorrt-rtx", "TensorRT-RTX")):
        name, about = f"run-{package}", f"run a {product} engine"
        first = facts.gpus.value[0] if facts.gpus.value else None
        if facts.packages[package] is None:
            yield Capability(name, about, "no", f"{package} is not installed", f"pip install {package}")
        elif lack := _no_gpu(facts):
            yield Capability(name, about, *lack, "engines are built here, and run where there is an NVIDIA GPU")
        elif facts.torch_cuda.value is None:
            do = "install torch built for CUDA, which holds the GPU's memory"
            yield Capability(name, about, "no", facts.torch_cuda.trouble, do)
        elif package == "tensorrt-rtx" and first is not None and first.compute_capability not in RTX_TARGETS:
            why = f"TensorRT-RTX does not run on compute capability {first.compute_capability} ({first.name})"
            yield Capability(name, about, "no", why, "use TensorRT on this GPU")
        else:
            yield Capability(name, about, "yes", f"{package} {facts.packages[package]}, {_first_gpu(facts)}")


def _no_gpu(facts: Facts) -> tuple[Verdict, str] | None:
    """Verdict and reason where no GPU answers, or None."""
    if facts.gpus.value:
        return None
    return ("no", facts.gpus.trouble or NO_GPU)


def _first_gpu(facts: Facts) -> str:
    assert facts.gpus.value
    gpu = facts.gpus.value[0]
    return str(gpu)
