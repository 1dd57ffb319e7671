"""An ONNX file of a bundle → an engine for this device, with its record."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from typing import Any, NamedTuple

from pose_runtime.engines import tuned_on
from pose_runtime.runtime.engine_builder import Build, BuilderSettings
from pose_runtime.runtime.engine_file import Product
from pose_runtime.runtime.engine_network import check_interface, check_types
from pose_runtime.runtime.gpu import Gpu
from pose_runtime.runtime.tensorrt_log import logger_of


class BuildPlan(NamedTuple):
    """Batches and settings of a build."""

    batches: tuple[int, int, int]
    """Smallest, usual and largest."""
    settings: BuilderSettings


def build_engine(
    trt: Any, product: Product, model: bytes, entry: Mapping[str, Any], plan: BuildPlan, gpu: Gpu | None
) -> tuple[bytes, dict[str, Any]]:
    """Build from the ONNX file that ``entry`` of the manifest describes; return the engine and its record.

    Raises:
        BadInput: the library cannot read the model, or it is no pose network.
        CheckFailed: a setting did not stick, the model does not keep its precision, or the builder refused.
        NotPossible: this version of the library is too old.
    """
    logger, errors = logger_of(trt)
    del errors[:]
    job = Build(trt, product, logger, errors, model, "the model", plan.settings)
    shape, precision = check_interface(job.network, "the model"), entry["precision"]
    check_types(job.network, "the model", precision, entry["fp32_convolutions"])
    shapes = [(batch, *shape[1:]) for batch in plan.batches]
    blob = job.run(shapes)
    record = {
        "runtime": product.module,
        "precision": precision,
        "onnx_sha256": hashlib.sha256(model).hexdigest(),
        "package_version": str(trt.__version__),
        "built_on": f"{platform.system()} {platform.machine()}",
        **tuned_on(None if plan.settings.targets else gpu),
        "targets": list(plan.settings.targets),
        "profile": dict(zip(("min", "opt", "max"), map(list, shapes))),
        "tf32": job.tf32,
        "workspace_bytes": plan.settings.workspace_bytes,
        "optimization_level": plan.settings.optimization_level,
        "hardware_compatible": plan.settings.hardware_compatible,
        "version_compatible": plan.settings.version_compatible,
        "build_seconds": job.seconds,
    }
    return bytes(blob), record
