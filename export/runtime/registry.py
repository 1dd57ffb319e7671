"""The runtimes: the session class of each, and the package to install for it."""

from __future__ import annotations

import importlib
import importlib.util
import re
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from .errors import NotPossible
from .host import prepare_environment


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


VERSION = re.compile(r"^(?:__version__|opencv_version)\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", re.MULTILINE)
"""The line of a module that states its version."""

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


def installed_version(distribution: str) -> str | None:
    """Return the version of the module that an import would load, without importing it; None if there is none.

    The module's own files come first, since metadata may belong to another package: ``onnxruntime`` and
    ``onnxruntime-gpu`` install the same files, and the last one wins. Metadata is the answer where they state nothing.
    """
    return module_version(distribution.replace("-", "_")) or metadata_version(distribution)


def module_version(module: str) -> str | None:
    """Return the version that a module's files state; None if there is no such module, or they state none."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    for name in ("__init__.py", "version.py"):
        try:
            text = Path(spec.origin).with_name(name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if match := VERSION.search(text):
            return match[1]
    return None


def metadata_version(distribution: str) -> str | None:
    """Return the version in a distribution's metadata; None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def load_library(runtime: str) -> Any:
    """Import and return the runtime's library.

    Raises:
        NotPossible: it is not installed, or does not load.
    """
    package = RUNTIMES[runtime].package
    if not installed(runtime):
        advice = RUNTIMES[runtime].install.format(package=package)
        raise NotPossible(f"{package} is not installed", "no such package", advice)
    prepare_environment()
    try:
        return importlib.import_module(package)
    except Exception as error:  # whatever fails there is a lack of this machine, and no artifact's fault
        reason = str(error) or type(error).__name__
        raise NotPossible(f"{package} does not load", reason, f"install {package} again") from error


def session_class(runtime: str) -> Any:
    """Return the runtime's session class, after its library has been loaded.

    Raises:
        NotPossible: the library is not installed, or does not load.
    """
    load_library(runtime)
    entry = RUNTIMES[runtime]
    return getattr(importlib.import_module(f".{entry.module}", __package__), entry.session)
