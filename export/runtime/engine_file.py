"""Checks of an engine before it is loaded, since the library executes the engine's code.

TensorRT refuses a file with None and a line in its log, or, without a driver, with a crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .errors import NotPossible
from .gpu import Gpu
from .session import version_numbers

HEADER_BYTES = 28
AMPERE = 8.0
"""Lowest compute capability that runs hardware compatible engines."""


class Product(NamedTuple):
    """A library that builds and runs engines."""

    module: str
    name: str
    magic: bytes
    """The first four bytes of its engines."""
    oldest: int
    """First major version with strongly typed networks, which keep the types of their ONNX file."""
    suffix: str
    """End of its engines' file names."""
    ahead_of_time: bool
    """True: it compiles for any GPU, without one; False: it tunes on this machine's GPU."""

    @property
    def option(self) -> str:
        """Its name on the command line."""
        return self.module.replace("_", "-")


TENSORRT = Product("tensorrt", "TensorRT", b"ftrt", 10, ".trt.engine", False)
TENSORRT_RTX = Product("tensorrt_rtx", "TensorRT-RTX", b"vtrt", 1, ".rtx.engine", True)
PRODUCTS = {product.module: product for product in (TENSORRT, TENSORRT_RTX)}


def require_recent(product: Product, version: str) -> None:
    """Check that this version of the library has strongly typed networks.

    Raises:
        NotPossible: it is too old.
    """
    if version_numbers(version)[0] >= product.oldest:
        return
    problem = f"{product.name} {version} is too old for this model"
    detail = f"strongly typed networks, which its precisions need, came with {product.oldest}"
    advice = "use JetPack 6.1 or newer; or run on the processor: pip install onnxruntime (or openvino), and name it "
    raise NotPossible(problem, detail, advice + "with --runtime")


def wrong_version(product: Product, built_by: str, installed: str, *, compatible: bool) -> str:
    """Return why the installed library does not load an engine that another version built; empty if it does.

    Engines do not load in other releases, version compatible ones not in earlier ones.
    """
    built, present = version_numbers(built_by), version_numbers(installed)
    if built == present or (compatible and built < present):
        return ""
    return f"built by {product.name} {built_by}, and {installed} is installed"


def wrong_gpu(gpu: Gpu, targets: Sequence[str], tuned_on: Gpu | None, *, hardware_compatible: bool) -> str:
    """Return why an engine does not run on this GPU; empty if it does.

    Args:
        gpu: this machine's.
        targets: compute capabilities that the engine was compiled for ahead of time; empty: it was tuned on a GPU.
        tuned_on: that GPU.
        hardware_compatible: whether it was built for all GPUs since Ampere.
    """
    if targets and gpu.compute_capability not in targets:
        return f"built for compute capability {', '.join(targets)}, and this GPU is {gpu}"
    if (hardware_compatible and float(gpu.compute_capability) >= AMPERE) or tuned_on is None:
        return ""
    return "" if tuned_on.is_like(gpu) else f"tuned on {tuned_on.in_full}, and this is {gpu.in_full}"


def wrong_header(content: bytes, product: Product, version: str, *, compatible: bool) -> str:
    """Return the defect of an engine's first bytes; empty if there is none."""
    if len(content) < HEADER_BYTES or content[:4] != product.magic:
        return f"no engine of {product.name}: it begins with {content[:4]!r}"
    written = list(content[24:27])
    if written != version_numbers(version) and not (compatible and written < version_numbers(version)):
        return f"its header says version {'.'.join(map(str, written))}, and {version} is installed"
    return ""
