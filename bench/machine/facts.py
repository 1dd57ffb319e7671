"""The facts that ``convnextpose doctor`` asks a machine for. No answer is an error: it carries the reason instead."""

import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, Literal, TypeVar

from bench.machine.driver import driver_cuda, driver_version
from bench.machine.system import cpu_features, cpu_name, free_disk_bytes, memory_bytes
from export.runtime.gpu import NO_GPU, Gpu, Jetson, gpus, jetson
from export.runtime.host import require_temporary_folder
from export.runtime.processor import cpu_limit, usable_cores
from export.runtime.registry import metadata_version, module_version

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
    "onnxruntime": (
        *("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-qnn"),
        *("onnxruntime-rocm", "onnxruntime-migraphx", "onnxruntime-silicon"),
    ),
    "opencv": (
        *("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    ),
}
"""Names on the package index of distributions that install the same module."""

SESSION_SECONDS = 60
CUDA_SESSION = """
import contextlib, io, json
with contextlib.suppress(ImportError):
    import torch
import onnxruntime
from onnx import TensorProto, helper
with contextlib.redirect_stdout(io.StringIO()):
    onnxruntime.preload_dlls()
node = helper.make_node("Relu", ["x"], ["y"])
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:]), ir_version=8,
                          opset_imports=[helper.make_opsetid("", 17)])
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CUDAExecutionProvider"])
print(json.dumps(session.get_providers()))
"""
"""Libraries of CUDA are loaded as a benchmark's worker does: torch, and what ONNX Runtime finds among the packages."""
CUDA_PROVIDER = "CUDAExecutionProvider"
TORCH_FOR_CPU = "torch is built for the CPU only"
ONNX_RUNTIME_FOR_CPU = "onnxruntime is built for the CPU only"
TENSORRT_CUDA = (11, 12, 13, 14)
"""Versions of CUDA for which packages such as ``tensorrt-cu13`` are searched."""

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
    driver_cuda: Answer[str]
    """The newest CUDA that the driver runs."""
    onnxruntime_cuda: Answer[str]
    """The CUDA version that ONNX Runtime was built with."""
    libnvinfer: Answer[str]
    """The major version of TensorRT's library that ONNX Runtime's TensorRT provider loads."""
    tensorrt_cuda: Answer[str]
    """The major version of CUDA that TensorRT's package is for."""
    tensorrt_rtx_cuda: Answer[str]
    cpu_limit: float | None = None
    """Time of how many processors control groups leave to this process; None: no limit."""
    temporary: Answer[str] = Answer("")
    """The folder for temporary files."""
    distributions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Name and version of each distribution that installs a package, if there are several; the last one has won."""


Available = Literal["yes", "no", "unknown"]


@dataclass(frozen=True)
class Capability:
    """One task that this project may do on a machine."""

    name: str
    """Name for ``--require``."""
    about: str
    available: Available
    reason: str
    advice: str = ""


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
        distributions={name: several for name in DISTRIBUTIONS if len(several := distributions(name)) > 1},
        torch_cuda=ask(torch_cuda),
        cpu=ask(cpu_name),
        cores=usable_cores(),
        cpu_limit=cpu_limit(),
        temporary=ask(lambda: str(require_temporary_folder())),
        features=ask(cpu_features),
        memory=ask(memory_bytes),
        disk=ask(lambda: free_disk_bytes(folder)),
        gpus=gpu_answer,
        driver=ask(driver_version),
        jetson=ask(jetson),
        cuda_session=session,
        driver_cuda=ask(driver_cuda),
        onnxruntime_cuda=ask(onnxruntime_cuda),
        libnvinfer=ask(libnvinfer),
        tensorrt_cuda=ask(partial(package_cuda, "tensorrt")),
        tensorrt_rtx_cuda=ask(partial(package_cuda, "tensorrt-rtx")),
    )


def package(name: str) -> str | None:
    """Return the version of an importable package; JetPack's packages come without metadata."""
    if find_spec(PACKAGES[name]) is None:
        return None
    versions = map(metadata_version, DISTRIBUTIONS.get(name, (name,)))
    return module_version(PACKAGES[name]) or next(filter(None, versions), "of unknown version")


def distributions(name: str) -> tuple[str, ...]:
    """Return the installed distributions of a package, such as ``onnxruntime-gpu 1.31.1``."""
    versions = {distribution: metadata_version(distribution) for distribution in DISTRIBUTIONS[name]}
    return tuple(f"{distribution} {number}" for distribution, number in versions.items() if number is not None)


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
    raise RuntimeError(TORCH_FOR_CPU)


def onnxruntime_cuda() -> str:
    """Return the CUDA version that ONNX Runtime was built with, from its files.

    Raises:
        RuntimeError: it is not installed, or was built for the CPU only.
        OSError: it has no file that says so.
    """
    text = (_onnxruntime_folder() / "build_and_package_info.py").read_text(encoding="utf-8")
    if match := re.search(r"^cuda_version *= *['\"]([\d.]+)['\"]", text, re.MULTILINE):
        return match[1]
    raise RuntimeError(ONNX_RUNTIME_FOR_CPU)


def libnvinfer() -> str:
    """Return the major version of ``libnvinfer`` in the names of libraries that the TensorRT provider loads.

    Raises:
        RuntimeError: ONNX Runtime is not installed, or its provider names none.
        OSError: it has no TensorRT provider.
    """
    content = (_onnxruntime_folder() / "libonnxruntime_providers_tensorrt.so").read_bytes()
    if match := re.search(rb"\0libnvinfer\.so\.(\d+)\0", content):
        return match[1].decode()
    raise RuntimeError("ONNX Runtime's TensorRT provider names no libnvinfer")


def package_cuda(name: str) -> str:
    """Return the major version of CUDA in the name of the distribution that installs TensorRT or TensorRT-RTX.

    Raises:
        RuntimeError: there is none with such a name, as in JetPack, or several overwrite each other.
    """
    majors = [str(major) for major in TENSORRT_CUDA if metadata_version(f"{name}-cu{major}") is not None]
    if not majors:
        raise RuntimeError(f"no package {name}-cu…")
    if len(majors) > 1:
        raise RuntimeError(f"{name} is installed for CUDA {' and '.join(majors)}")
    return majors[0]


def _onnxruntime_folder() -> Path:
    spec = find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise RuntimeError("onnxruntime is not installed")
    return Path(spec.origin).parent / "capi"


def cuda_session() -> str:
    """Return the first provider of a session that asks for CUDA, opened in a child process, which may crash.

    Raises:
        RuntimeError: the session could not be opened.
    """
    return str(json.loads(run_probe(CUDA_SESSION).splitlines()[-1])[0])


def run_probe(script: str) -> str:
    """Run Python code in a child process, and return its output.

    Raises:
        RuntimeError: it failed; the text is the last line of its errors.
        subprocess.TimeoutExpired: it did not end within a minute.
    """
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SESSION_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return done.stdout
