"""The facts that ``convnextpose doctor`` asks a machine for. No answer is an error: it carries the reason instead."""

import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, TypeVar

from bench.machine.system import cpu_features, cpu_name, free_disk_bytes, memory_bytes, usable_cores
from export.common.gpu import NO_GPU, Gpu, Jetson, driver_version, gpus, jetson
from export.pipeline.steps import version

PACKAGES = {
    "torch": "torch",
    "onnx": "onnx",
    "onnxscript": "onnxscript",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "tensorrt-rtx": "tensorrt_rtx",
    "opencv": "cv2",
}
"""Name of a package here → its module."""

DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime"),
    "opencv": ("opencv-python-headless", "opencv-python"),
}
"""Names on the package index, where there are several."""

SESSION_SECONDS = 20
CUDA_SESSION = """
import json, onnxruntime
from onnx import TensorProto, helper
node = helper.make_node("Relu", ["x"], ["y"])
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:]), ir_version=8,
                          opset_imports=[helper.make_opsetid("", 17)])
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CUDAExecutionProvider"])
print(json.dumps(session.get_providers()))
"""
CUDA_PROVIDER = "CUDAExecutionProvider"

T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """The answer to one question; without a value, ``trouble`` is the reason."""

    value: T | None
    trouble: str = ""


@dataclass(frozen=True)
class Facts:
    """The facts of one machine."""

    python: str
    system: str
    """Operating system and architecture, as in Linux x86_64."""
    packages: dict[str, str | None]
    """Version, or None where it cannot be imported."""
    torch_cuda: Answer[str]
    """The CUDA version that torch was built with."""
    cpu: Answer[str]
    cores: int
    features: Answer[tuple[str, ...]]
    memory: Answer[tuple[int, int]]
    """All of it, and the free part, in bytes."""
    disk: Answer[int]
    gpus: Answer[tuple[Gpu, ...]]
    driver: Answer[str]
    jetson: Answer[Jetson | None]
    cuda_session: Answer[str]
    """The provider that ran first in an ONNX Runtime session for CUDA."""


def ask(probe: Callable[[], T]) -> Answer[T]:
    """Call a probe and return its answer; any error becomes the trouble."""
    try:
        return Answer(probe())
    except Exception as error:
        return Answer(None, str(error) or type(error).__name__)


def collect_facts(folder: Path) -> Facts:
    """Ask for every fact, without loading a large library: a tenth of a second where there is no GPU."""
    gpu_answer = ask(gpus)
    session: Answer[str] = Answer(None, gpu_answer.trouble or NO_GPU)
    if gpu_answer.value and find_spec("onnxruntime"):
        session = ask(cuda_session)
    return Facts(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages={name: ask(partial(package, name)).value for name in PACKAGES},
        torch_cuda=ask(torch_cuda),
        cpu=ask(cpu_name),
        cores=usable_cores(),
        features=ask(cpu_features),
        memory=ask(memory_bytes),
        disk=ask(lambda: free_disk_bytes(folder)),
        gpus=gpu_answer,
        driver=ask(driver_version),
        jetson=ask(jetson),
        cuda_session=session,
    )


def package(name: str) -> str | None:
    """Return the version of an importable package; JetPack's packages come without metadata."""
    if find_spec(PACKAGES[name]) is None:
        return None
    versions = (version(distribution) for distribution in DISTRIBUTIONS.get(name, (name,)))
    return next((number for number in versions if number != "absent"), "of unknown version")


def torch_cuda() -> str:
    """Return the CUDA version that torch was built with, from its files: importing it takes seconds.

    Raises:
        RuntimeError: torch is not installed, or was built for the CPU only.
    """
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        raise RuntimeError("torch is not installed")
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    if match := re.search(r"^cuda\b[^=\n]*= *['\"]([\d.]+)['\"]", text, re.MULTILINE):
        return match[1]
    raise RuntimeError("torch is built for the CPU only")


def cuda_session() -> str:
    """Return the first provider of a session that asks for CUDA, opened in a child process, which may crash.

    Raises:
        RuntimeError: the session could not be opened.
    """
    command = [sys.executable, "-c", CUDA_SESSION]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SESSION_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return str(json.loads(done.stdout.splitlines()[-1])[0])
