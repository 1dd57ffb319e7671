"""Rows on the GPU that a machine can run, judged from versions alone; nothing is loaded or run.

The tables hold facts of NVIDIA's, each with its source. A version that is not known makes the answer ``unknown``.
"""

import re
from dataclasses import replace

from bench.machine.facts import CUDA_PROVIDER, ONNX_RUNTIME_FOR_CPU, TORCH_FOR_CPU, Answer, Available, Capability, Facts
from export.common.extras import install_command
from export.engine.plan import DEFAULT_RTX_TARGETS, RTX_TARGETS, TARGETS_WITHOUT
from export.runtime.gpu import NO_GPU, Gpu

MINIMUM_DRIVERS = {11: 450, 12: 525, 13: 580}
"""Major version of CUDA → oldest driver that runs all of it, whatever the minor version. A driver names the newest
CUDA that it runs, and runs older ones (docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html,
table 1). TensorRT 10.16 to 11.2 have the same minimum for CUDA 13 (docs.nvidia.com/deeplearning/tensorrt/11.2.1/
installing-tensorrt/prerequisites.html)."""

FIRST_COMPUTE_CAPABILITY = {13: (7, 5)}
"""Major version of CUDA → oldest GPU that its libraries have kernels for: 13 is without Maxwell, Pascal and Volta
(NVIDIA's release notes as quoted in github.com/pytorch/pytorch issue 157517)."""

FIRST_WITH_BF16 = (8, 0)
"""Turing has no BF16 (docs.nvidia.com/deeplearning/tensorrt-rtx/latest/getting-started/support-matrix-1/1.5.html)."""

CHECKED_RELEASES = {"tensorrt": ((10, 3), (11, 5)), "tensorrt-rtx": ((1, 0), (1, 8))}
"""Package → first release, and the one behind the last, of which the bindings are compared with this project's calls,
as in ``pyproject.toml``."""

ENGINE_PACKAGES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}


def gpu_rows(facts: Facts) -> tuple[Capability, ...]:
    """Return what this machine's GPU can run of a benchmark, and what is missing for the rest."""
    cuda = _onnx_runtime_cuda(facts)
    return (
        _pytorch(facts),
        cuda,
        _onnx_runtime_tensorrt(facts, cuda),
        *(
            engine_row(facts, package, f"run-{package}", f"run a {ENGINE_PACKAGES[package]} engine")
            for package in ENGINE_PACKAGES
        ),
        _bf16(facts),
    )


def engine_row(facts: Facts, package: str, name: str, about: str) -> Capability:
    """Judge whether this machine's GPU can do a task with TensorRT or TensorRT-RTX."""
    if (installed := facts.packages[package]) is None:
        advice = install_command(package.replace("-", "_"))
        return Capability(name, about, "no", f"{package} is not installed", advice)
    if (gpu := _gpu(facts)) is None:
        return _without_gpu(facts, name, about, "build engines here, and run them where there is an NVIDIA GPU")
    if package == "tensorrt-rtx" and gpu.compute_capability not in RTX_TARGETS:
        reason = f"TensorRT-RTX does not run on compute capability {gpu.compute_capability} ({gpu.name})"
        return Capability(name, about, "no", reason, "use TensorRT on this GPU")
    first, end = CHECKED_RELEASES[package]
    release = _numbers(installed)
    if not first <= release < end:
        span = f"{_text(first)} to {end[0]}.{end[1] - 1}"
        reason = f"{package} {installed}: this project's calls are compared with the bindings of {span}"
        available: Available = "no" if release and release < first else "unknown"
        return Capability(name, about, available, reason, install_command(package.replace("-", "_")))
    cuda = facts.tensorrt_cuda if package == "tensorrt" else facts.tensorrt_rtx_cuda
    row = _with_cuda(facts, Capability(name, about, "yes", ""), package, cuda, gpu)
    if row.available == "yes" and package == "tensorrt-rtx":
        row = replace(row, reason="; ".join((row.reason, *_rtx_limits(gpu))))
    return row


def _pytorch(facts: Facts) -> Capability:
    name, about = "run-pytorch-cuda", "run the reference on the GPU"
    if facts.packages["torch"] is None:
        return Capability(name, about, "no", "torch is not installed", "run `make setup`")
    if (gpu := _gpu(facts)) is None:
        return _without_gpu(facts, name, about, "run it where there is an NVIDIA GPU")
    if facts.torch_cuda.value is None:
        trouble = facts.torch_cuda.trouble
        return Capability(name, about, _without_cuda(trouble), trouble, _install(facts, "torch"))
    return _with_cuda(facts, Capability(name, about, "yes", ""), "torch", facts.torch_cuda, gpu)


def _onnx_runtime_cuda(facts: Facts) -> Capability:
    name, about = "run-onnxruntime-cuda", "run ONNX files on the GPU with ONNX Runtime"
    if facts.packages["onnxruntime"] is None:
        return Capability(name, about, "no", "onnxruntime is not installed", "pip install onnxruntime-gpu")
    if (gpu := _gpu(facts)) is None:
        return _without_gpu(facts, name, about, "run it where there is an NVIDIA GPU")
    built = facts.onnxruntime_cuda
    if built.value is None:
        return Capability(name, about, _without_cuda(built.trouble), built.trouble, "pip install onnxruntime-gpu")
    row = _with_cuda(facts, Capability(name, about, "yes", ""), "onnxruntime", built, gpu)
    if row.available != "yes":
        return row
    torch, needed = facts.torch_cuda, _numbers(built.value)[0]
    advice = f"install torch built for CUDA {needed}: it brings CUDA's libraries and cuDNN"
    if torch.value is None:
        reason = f"onnxruntime is built for CUDA {built.value} and takes its libraries from torch: {torch.trouble}"
        return replace(row, available=_without_cuda(torch.trouble), reason=reason, advice=advice)
    if facts.cuda_session.value == CUDA_PROVIDER:
        return replace(row, reason=f"a session for CUDA opened, and runs there; {row.reason}")
    reason = facts.cuda_session.trouble or f"the session fell back to {facts.cuda_session.value}"
    if _numbers(torch.value)[:1] != (needed,):
        reason = f"onnxruntime is built for CUDA {built.value}, torch brings CUDA {torch.value}; {reason}"
    else:
        advice = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
    return replace(row, available="no", reason=reason, advice=advice)


def _onnx_runtime_tensorrt(facts: Facts, cuda: Capability) -> Capability:
    """Judge by the library that the provider's file names; a session would build an engine first."""
    name, about = "run-onnxruntime-tensorrt", "run ONNX files on the GPU with ONNX Runtime's TensorRT provider"
    if cuda.available != "yes":
        return replace(cuda, name=name, about=about)
    if facts.libnvinfer.value is None:
        return Capability(name, about, "unknown", facts.libnvinfer.trouble, "pip install onnxruntime-gpu")
    needed, built = int(facts.libnvinfer.value), _numbers(facts.onnxruntime_cuda.value)[0]
    package = f"pip install 'tensorrt-cu{built}>={needed},<{needed + 1}'"
    advice, reason = f"in an environment of its own: {package}", f"onnxruntime loads libnvinfer.so.{needed}"
    if (installed := facts.packages["tensorrt"]) is None:
        return Capability(name, about, "no", f"{reason}; tensorrt is not installed", package)
    release, brought = _numbers(installed)[:1], _numbers(facts.tensorrt_cuda.value)[:1]
    if not release:
        return Capability(name, about, "unknown", f"{reason}; tensorrt is {installed}", advice)
    if release != (needed,):
        reason = f"{reason}; tensorrt {installed} brings libnvinfer.so.{release[0]}"
        return Capability(name, about, "no", reason, advice)
    if brought != (built,):
        tensorrt_cuda = facts.tensorrt_cuda.value or f"unknown ({facts.tensorrt_cuda.trouble})"
        reason = f"{reason} and CUDA {built}; the CUDA of tensorrt {installed} is {tensorrt_cuda}"
        return Capability(name, about, "unknown", reason, advice)
    return Capability(name, about, "yes", f"{reason}, which tensorrt {installed} for CUDA {built} brings")


def _bf16(facts: Facts) -> Capability:
    name, about = "run-bf16-gpu", "run BF16 files and engines on the GPU"
    if (gpu := _gpu(facts)) is None:
        return _without_gpu(facts, name, about, "run it where there is an NVIDIA GPU")
    if _numbers(gpu.compute_capability) < FIRST_WITH_BF16:
        reason = f"compute capability {gpu.compute_capability} ({gpu.name}) has no BF16: that begins with 8.0"
        return Capability(name, about, "no", reason, "export fp16 for this GPU")
    return Capability(name, about, "yes", f"compute capability {gpu.compute_capability}")


def _with_cuda(facts: Facts, row: Capability, package: str, built: Answer[str], gpu: Gpu) -> Capability:
    """Return the row with the judgement whether driver and GPU run a package that is built for this CUDA."""
    driver = f"driver {facts.driver.value or 'of unknown release'}"
    runs, needed = _numbers(facts.driver_cuda.value), _numbers(built.value)
    installed = f"{package} {facts.packages[package]}"
    if not runs:
        reason = f"the CUDA that the driver runs is unknown: {facts.driver_cuda.trouble}"
        return replace(row, available="unknown", reason=reason)
    driver = f"{driver} runs CUDA {facts.driver_cuda.value}"
    if not needed:
        reason = f"{installed}, {gpu}; its CUDA is unknown ({built.trouble}), {driver}"
        known = facts.jetson.value is not None or runs[0] >= max(MINIMUM_DRIVERS)  # JetPack's own, or any CUDA so far
        return replace(row, available="yes" if known else "unknown", reason=reason)
    reason = f"{installed} is built for CUDA {built.value}, {driver}"
    if runs[0] < needed[0]:
        oldest = MINIMUM_DRIVERS.get(needed[0])
        update = f"update the driver to {oldest} or newer" if oldest else "update the driver"
        return replace(row, available="no", reason=reason, advice=f"{update}, or {_install(facts, package)}")
    if _numbers(gpu.compute_capability) < (first := FIRST_COMPUTE_CAPABILITY.get(needed[0], (0,))):
        reason = f"{installed} is built for CUDA {built.value}, which begins with compute capability {_text(first)}"
        advice = f"install {package} built for CUDA {needed[0] - 1}"
        return replace(row, available="no", reason=f"{reason}; this GPU is {gpu}", advice=advice)
    return replace(row, reason=f"{reason}, {gpu}")


def _install(facts: Facts, package: str) -> str:
    """Return how to get a package for the CUDA that the driver runs."""
    runs = _numbers(facts.driver_cuda.value)
    if not runs:
        return f"install {package} built for CUDA"
    if package in CHECKED_RELEASES:
        first, end = map(_text, CHECKED_RELEASES[package])
        return f"pip install '{package}-cu{runs[0]}>={first},<{end}'"
    return f"install {package} built for CUDA {runs[0]}"


def _without_cuda(trouble: str) -> Available:
    """Return the answer for a package without a known CUDA: it has none, or its files cannot be read."""
    return "no" if trouble in (TORCH_FOR_CPU, ONNX_RUNTIME_FOR_CPU) else "unknown"


def _rtx_limits(gpu: Gpu) -> list[str]:
    """Return what TensorRT-RTX leaves out on this GPU, unless it is asked for, or at all."""
    target = gpu.compute_capability
    limits = [] if target in DEFAULT_RTX_TARGETS else [f"only engines that are built with --targets {target}"]
    return limits + [without[target] for without in TARGETS_WITHOUT.values() if target in without]


def _gpu(facts: Facts) -> Gpu | None:
    """Return the first GPU, which programs get by default."""
    return facts.gpus.value[0] if facts.gpus.value else None


def _without_gpu(facts: Facts, name: str, about: str, advice: str) -> Capability:
    return Capability(name, about, "no", facts.gpus.trouble or NO_GPU, advice)


def _numbers(version: str | None) -> tuple[int, ...]:
    """Return the first two numbers of a version; empty if it is unknown."""
    match = re.match(r"(\d+)(?:\.(\d+))?", version or "")
    return tuple(int(part) for part in match.groups() if part) if match else ()


def _text(release: tuple[int, ...]) -> str:
    return ".".join(map(str, release))
