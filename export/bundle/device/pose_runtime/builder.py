"""The build of an engine for this device from an ONNX file of a bundle, with its record."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from pose_runtime.engines import record_gpu
from pose_runtime.runtime.engine_builder import Build, BuilderSettings
from pose_runtime.runtime.engine_file import Product
from pose_runtime.runtime.engine_network import check_interface, check_types
from pose_runtime.runtime.gpu import Gpu
from pose_runtime.runtime.tensorrt_log import logger_of

NAME = "the model"
"""Name of the ONNX file in messages."""


def build_engine(
    trt: Any,
    product: Product,
    model: bytes,
    entry: Mapping[str, Any],
    batches: Sequence[int],
    settings: BuilderSettings,
    gpu: Gpu | None,
) -> tuple[bytes, dict[str, Any]]:
    """Build an engine; return it and its record.

    Args:
        trt: the library.
        product: its description.
        model: the ONNX file.
        entry: the manifest's entry of that file.
        batches: smallest, usual and largest batch.
        settings: of the builder.
        gpu: of this device; None where targets are compiled for ahead of time.

    Raises:
        BadInput: the library cannot read the model, or it is no pose network.
        CheckFailed: a setting did not stick, the model does not keep its precision, or the builder refused.
        NotPossible: this version of the library is too old.
    """
    logger, errors = logger_of(trt)
    del errors[:]
    job = Build(trt, product, logger, errors, model, NAME, settings)
    shape, precision = check_interface(job.network, NAME), entry["precision"]
    check_types(job.network, NAME, precision, entry["fp32_convolutions"])
    shapes = [(batch, *shape[1:]) for batch in batches]
    engine = job.run(shapes)
    record = {
        **settings._asdict(),
        **record_gpu(None if settings.targets else gpu),
        "runtime": product.module,
        "precision": precision,
        "onnx_sha256": hashlib.sha256(model).hexdigest(),
        "package_version": str(trt.__version__),
        "built_on": f"{platform.system()} {platform.machine()}",
        "profile": dict(zip(("min", "opt", "max"), shapes)),
        "tf32": job.tf32,
        "build_seconds": job.seconds,
    }
    return bytes(engine), record
