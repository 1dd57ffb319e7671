"""What can run a network, one runtime a file. None is imported before it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from pose_runtime.bundle import Bundle
from pose_runtime.errors import NotPossible

if TYPE_CHECKING:
    from typing import Protocol

    from numpy.typing import NDArray

    class Network(Protocol):
        """A network that is loaded and can be run."""

        runtime: str
        precision: str
        artifact: str
        """The file that was loaded, and its hash."""
        artifact_sha256: str
        largest_batch: int | None

        def run(self, images: NDArray[Any]) -> NDArray[Any]:
            """(N, 3, S, S) float32 → (N, J, 3) float32 in bins, a copy."""

        def describe(self) -> str:
            """Runtime, version and device."""

        def threads(self) -> int | None:
            """Of the processor, read back from the runtime; None: it runs on the GPU."""

        def computes_in(self) -> str:
            """The types that convolutions compute in, read back from the runtime."""

        def close(self) -> None:
            """Let go of it."""

else:
    Network = Any


class Runtime(NamedTuple):
    """Where a runtime's class lies, and what it needs."""

    module: str
    class_name: str
    package: str
    """What is imported."""
    on_gpu: bool = False
    install: str = "pip install {package}"
    """How it is installed."""


AUTO = "auto"
MOST_THREADS = os.cpu_count() or 1
WITH_JETPACK = (
    "on a Jetson apt install python3-libnvinfer, and a virtual environment made with --system-site-packages to see it; "
    "elsewhere pip install {package}"
)
NO_JETSON = "pip install {package} (x86-64 with a GeForce or RTX GPU; there is none for Jetsons)"

RUNTIMES: dict[str, Runtime] = {
    "tensorrt": Runtime("pose_runtime.runtimes.tensorrt", "TensorRT", "tensorrt", True, WITH_JETPACK),
    "tensorrt_rtx": Runtime("pose_runtime.runtimes.tensorrt_rtx", "TensorRTRTX", "tensorrt_rtx", True, NO_JETSON),
    "openvino": Runtime("pose_runtime.runtimes.openvino", "OpenVINO", "openvino"),
    "onnxruntime": Runtime("pose_runtime.runtimes.onnxruntime", "ONNXRuntime", "onnxruntime"),
}
"""In the order in which ``auto`` tries them."""


def installed(runtime: str) -> bool:
    """Whether its package is there; nothing is imported."""
    return importlib.util.find_spec(RUNTIMES[runtime].package) is not None


def open_network(bundle: Bundle, runtime: str, precision: str, threads: int | None = None) -> Network:
    """Load the bundle's network of this precision in this runtime.

    Raises:
        CheckFailed: the file to be loaded is not the manifest's.
        NotPossible: the runtime is not installed, or does not run this precision here.
    """
    about = RUNTIMES[runtime]
    if not installed(runtime):
        raise NotPossible(
            f"{about.package} is not installed", "no such package", about.install.format(package=about.package)
        )
    try:
        importlib.import_module(about.package)
    except (ImportError, OSError) as error:
        raise NotPossible(f"{about.package} does not load", str(error), f"install {about.package} again") from error
    network: Network = getattr(importlib.import_module(about.module), about.class_name)(bundle, precision, threads)
    return network


def usable_cores() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1
