"""Which GPU runtimes a machine can run, and why not the others. Nothing here trusts what a package says it was built
with: the driver is asked, and torch has to reach the GPU in a process of its own.
"""

import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from bench.machine.facts import torch_cuda
from bench.machine.gpu_sensors import other_processes
from bench.sessions.engine_file import require_gpu, require_version
from bench.sessions.exported import ENGINES, GPU_RUNTIMES, ORT_CUDA, ORT_TENSORRT, ExportFolder
from export.common.errors import BadInput, NotPossible
from export.common.gpu import default_gpu
from export.engine.build import beside, read_engine_record
from export.engine.plan import RTX_TARGETS, TENSORRT_RTX
from export.pipeline.steps import version

PROBE_S = 60
TORCH_PROBE = "import torch; torch.zeros(1, device='cuda'); torch.cuda.synchronize()"
PROVIDER_LIBRARIES = {
    ORT_CUDA: "libonnxruntime_providers_cuda.so",
    ORT_TENSORRT: "libonnxruntime_providers_tensorrt.so",
}


def no_gpu_runtime(runtime: str) -> str | None:
    """Why this machine runs nothing in this runtime; None if, by all that can be known beforehand, it does."""
    gpu, trouble = default_gpu()
    if gpu is None:
        return trouble
    if (trouble := no_package(runtime)) or (trouble := torch_trouble()):
        return trouble
    if runtime in ENGINES and ENGINES[runtime] == TENSORRT_RTX and gpu.compute_capability not in RTX_TARGETS:
        known = ", ".join(RTX_TARGETS)
        return f"TensorRT-RTX does not run on compute capability {gpu.compute_capability} ({gpu.name}), only on {known}"
    if others := other_processes():
        return f"{others} other processes compute on the GPU: timings would be theirs, too; end them"
    return None


def no_package(runtime: str) -> str:
    """What has to be installed for this runtime; empty if nothing is missing."""
    if runtime in ENGINES and find_spec(ENGINES[runtime].module) is None:
        return f"{ENGINES[runtime].module} is not installed: pip install {runtime}"
    if runtime in PROVIDER_LIBRARIES:
        spec = find_spec("onnxruntime")
        if spec is None or spec.origin is None:
            return "onnxruntime is not installed: pip install onnxruntime-gpu"
        if not (Path(spec.origin).parent / "capi" / PROVIDER_LIBRARIES[runtime]).is_file():
            return "the installed onnxruntime was built without it: pip install onnxruntime-gpu"
    return ""


@cache
def torch_trouble() -> str:
    """Why torch, which holds the GPU's memory for all GPU runtimes, does not reach the GPU; empty if it does.

    It is tried in a child process: this one never has anything on the GPU.
    """
    try:
        torch_cuda()
    except RuntimeError as error:
        return f"{error}, and torch holds the GPU's memory: install torch built for CUDA"
    try:
        command = [sys.executable, "-c", TORCH_PROBE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_S, check=False)
    except subprocess.TimeoutExpired:
        return f"torch did not reach the GPU within {PROBE_S} s"
    if done.returncode == 0:
        return ""
    said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return f"torch does not reach the GPU: {said}"


def no_engine(exported: ExportFolder, runtime: str, precision: str) -> str | None:
    """Why no engine of this precision can be run here, and what makes one; None if there is one for this GPU."""
    backend, (gpu, trouble) = ENGINES[runtime], default_gpu()
    if gpu is None:
        return trouble
    try:
        path = exported.engine(precision, backend)
        record = read_engine_record(beside(path, ".json"))
        require_gpu(path, record, gpu)
        if (installed := version(runtime)) != "absent":  # JetPack's come without a record of their version
            require_version(path, record, backend, installed)
    except (BadInput, NotPossible) as failure:
        return f"{failure.problem}: {failure.found}; {failure.advice}"
    return None


def is_gpu(runtime: str | None) -> bool:
    """Whether the runtime computes on the GPU."""
    return runtime in GPU_RUNTIMES
