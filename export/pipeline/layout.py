"""Paths of an export's files, relative to the model's folder."""

from pathlib import PurePosixPath
from typing import NamedTuple

from export.runtime.engine_file import Product

MANIFEST = "manifest.json"
"""It is written last, and removed as soon as a step replaces files: a folder with a manifest is complete."""
STEP_RECORDS = ".steps"
"""The folder of the steps' records."""

WEIGHTS = "weights/weights.safetensors"
TRUTH = "parity/truth.npz"
"""Joints of the reference model in FP64 (``truth``) and FP32 (``reference``), (N, J, 3) bins, and the ``images``."""
IMAGE_STATISTICS = "parity/image-statistics.json"
"""Mismatch of the parity images and the stored BatchNorm statistics, for each norm."""
CALIBRATION = "plan/calibration.npz"
"""The ``images`` from which weights are rounded and INT8 scales are taken, (N, S, S, 3) RGB."""


class PlanPaths(NamedTuple):
    """Files of a precision plan."""

    record: str
    weights: str
    simulation: str
    """Joints of the simulated graph (``simulation``)."""


def plan_paths(precision: str) -> PlanPaths:
    """Return the paths of a precision's plan."""
    return PlanPaths(f"plan/{precision}.json", f"plan/{precision}.safetensors", f"parity/{precision}-simulated.npz")


def ranges_path(precision: str) -> str:
    """Return the path of the report on the values' ranges."""
    return f"parity/{precision}-ranges.json"


def engine_path(onnx: str, product: Product) -> str:
    """Return the path of the engine that this library's builder makes of an ONNX file."""
    return f"engines/{PurePosixPath(onnx).stem}{product.suffix}"


def parity_path(variant: str) -> str:
    """Return the path of a file's parity report."""
    return f"parity/{variant}.json"
