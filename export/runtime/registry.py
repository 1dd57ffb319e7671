"""The runtimes: the session class of each, and the package to install for it."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, NamedTuple

from .errors import NotPossible


class Runtime(NamedTuple):
    """One runtime."""

    module: str
    """Module of this package."""
    session: str
    """Name of its session class."""
    package: str
    """Python package of the library."""
    on_gpu: bool = False
    """True: it runs engines on a GPU; False: ONNX models on the processor."""
    install: str = "pip install {package}"


WITH_JETPACK = (
    "on a Jetson apt install python3-libnvinfer, and create the virtual environment with --system-site-packages; "
    "elsewhere pip install {package}"
)
NO_JETSON = "pip install {package} (x86-64 with a GeForce or RTX GPU; there is none for Jetsons)"

RUNTIMES = {
    "tensorrt": Runtime("tensorrt", "EngineSession", "tensorrt", True, WITH_JETPACK),
    "tensorrt_rtx": Runtime("tensorrt", "EngineSession", "tensorrt_rtx", True, NO_JETSON),
    "openvino": Runtime("openvino", "OpenVinoSession", "openvino"),
    "onnxruntime": Runtime("onnx_runtime", "OnnxRuntimeSession", "onnxruntime"),
}
"""In the order in which a bundle tries them."""


def installed(runtime: str) -> bool:
    """Return whether the runtime's library is installed; nothing is imported."""
    return importlib.util.find_spec(RUNTIMES[runtime].package) is not None


def load_library(runtime: str) -> Any:
    """Import and return the runtime's library.

    Raises:
        NotPossible: it is not installed, or does not load.
    """
    package = RUNTIMES[runtime].package
    if not installed(runtime):
        advice = RUNTIMES[runtime].install.format(package=package)
        raise NotPossible(f"{package} is not installed", "no such package", advice)
    try:
        return importlib.import_module(package)
    except (ImportError, OSError) as error:
        raise NotPossible(f"{package} does not load", str(error), f"install {package} again") from error


def session_class(runtime: str) -> Any:
    """Return the runtime's session class, after its library has been loaded.

    Raises:
        NotPossible: the library is not installed, or does not load.
    """
    load_library(runtime)
    entry = RUNTIMES[runtime]
    return getattr(importlib.import_module(f".{entry.module}", __package__), entry.session)
