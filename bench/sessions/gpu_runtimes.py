"""GPU runtimes that a machine can run, and reasons against the others.

A package's own list of what it was built with proves nothing: the driver is asked, and torch has to reach the GPU in a
process of its own.
"""

import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from bench.machine.facts import run_probe, torch_cuda
from bench.machine.gpu_sensors import other_processes
from bench.sessions.engine_file import require_gpu, require_version
from bench.sessions.exported import ENGINES, GPU_RUNTIMES, ExportFolder
from bench.sessions.onnx_runtime_gpu import LIBRARIES, PROVIDERS
from export.common.errors import BadInput, NotPossible
from export.common.extras import missing
from export.engine.plan import RTX_TARGETS
from export.engine.record import beside, read_engine_record
from export.pipeline.steps import version
from export.runtime.engine_file import TENSORRT_RTX
from export.runtime.gpu import default_gpu

TORCH_PROBE = "import torch; torch.zeros(1, device='cuda'); torch.cuda.synchronize()"


def no_gpu_runtime(runtime: str) -> str | None:
    """Return why this machine cannot run a GPU runtime; None if nothing known beforehand speaks against it."""
    gpu, reason = default_gpu()
    if gpu is None:
        return reason
    if reason := no_package(runtime):
        return reason
    if runtime not in ENGINES and (reason := torch_trouble()):
        return reason
    if runtime in ENGINES and ENGINES[runtime] == TENSORRT_RTX and gpu.compute_capability not in RTX_TARGETS:
        known = ", ".join(RTX_TARGETS)
        return f"TensorRT-RTX does not run on compute capability {gpu.compute_capability} ({gpu.name}), only on {known}"
    if count := other_processes():
        return f"{count} other processes compute on the GPU and would disturb the measurement: end them"
    return None


def no_package(runtime: str) -> str:
    """Return which package a runtime needs; empty if nothing is missing."""
    if runtime in ENGINES and find_spec(ENGINES[runtime].module) is None:
        return missing(ENGINES[runtime].module)
    if runtime in PROVIDERS:
        spec = find_spec("onnxruntime")
        if spec is None or spec.origin is None:
            return "onnxruntime is not installed: pip install onnxruntime-gpu"
        if not (Path(spec.origin).parent / "capi" / LIBRARIES[PROVIDERS[runtime]]).is_file():
            return "the installed onnxruntime was built without it: pip install onnxruntime-gpu"
    return ""


@cache
def torch_trouble() -> str:
    """Return why torch does not reach the GPU; empty if it does.

    PyTorch runs on it, and ONNX Runtime finds CUDA's libraries through it. A child process tries it, so that this
    process never has anything on the GPU.
    """
    try:
        torch_cuda()
    except RuntimeError as error:
        return f"{error}: install torch built for CUDA"
    try:
        run_probe(TORCH_PROBE)
    except subprocess.TimeoutExpired as error:
        return f"torch did not reach the GPU within {error.timeout:g} s"
    except RuntimeError as error:
        return f"torch does not reach the GPU: {error}"
    return ""


def no_engine(exported: ExportFolder, runtime: str, variant: str) -> str | None:
    """Return why no engine of this variant runs on this GPU, and what builds one; None if there is one."""
    product, (gpu, reason) = ENGINES[runtime], default_gpu()
    if gpu is None:
        return reason
    try:
        path = exported.engine(variant, product)
        record = read_engine_record(beside(path, ".json"))
        require_gpu(path, record, gpu)
        if (installed := version(runtime)) != "absent":  # JetPack's packages come without metadata
            require_version(path, record, product, installed)
    except (BadInput, NotPossible) as failure:
        return f"{failure.problem}: {failure.detail}; {failure.advice}"
    return None


def is_gpu(runtime: str | None) -> bool:
    """Return whether the runtime computes on the GPU."""
    return runtime in GPU_RUNTIMES
