"""An ONNX file of a bundle → an engine for this device, with its record."""

from __future__ import annotations

import hashlib
import platform
from typing import Any, NamedTuple

from pose_runtime.engines import tuned_on
from pose_runtime.runtime.engine_builder import BODY_TYPE, Build, BuilderSettings
from pose_runtime.runtime.engine_file import Product
from pose_runtime.runtime.errors import BadInput
from pose_runtime.runtime.gpu import Gpu
from pose_runtime.runtime.session import INPUT, OUTPUT
from pose_runtime.runtime.tensorrt_log import logger_of


class BuildPlan(NamedTuple):
    """Batches and settings of a build."""

    batches: tuple[int, int, int]
    """Smallest, usual and largest."""
    settings: BuilderSettings


def build_engine(
    trt: Any, product: Product, model: bytes, precision: str, plan: BuildPlan, gpu: Gpu | None
) -> tuple[bytes, dict[str, Any]]:
    """Build; return the engine and its record.

    Raises:
        BadInput: the library cannot read the model, or it is no pose network, or its layers have other types.
        CheckFailed: a setting did not stick, the builder refused, or logged an error although it built.
        NotPossible: this version of the library is too old.
    """
    logger, errors = logger_of(trt)
    del errors[:]
    job = Build(trt, product, logger, errors, model, "the model", plan.settings)
    shape = check_network(job.network, precision)
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


def check_network(network: Any, precision: str) -> tuple[int, ...]:
    """Return the shape of the one input, after comparing names and the types that convolutions and the decode give.

    Raises:
        BadInput: it is no pose network, or not one of this precision.
    """
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    names = ([tensor.name for tensor in inputs], [tensor.name for tensor in outputs])
    if names != ([INPUT], [OUTPUT]):
        seen = f"inputs {', '.join(names[0])}, outputs {', '.join(names[1])}"
        raise BadInput("the ONNX file is not a pose network", seen, "copy the bundle again")
    wanted = {"CONVOLUTION": BODY_TYPE[precision], "SOFTMAX": "FLOAT", "REDUCE": "FLOAT"}
    for layer in (network.get_layer(index) for index in range(network.num_layers)):
        kind = wanted.get(layer.type.name)
        types = {layer.get_output(index).dtype.name for index in range(layer.num_outputs)}
        if kind is not None and types != {kind}:
            seen = f"a {layer.type.name} gives {', '.join(sorted(types))}, not {kind}"
            raise BadInput(f"the ONNX file is not {precision}", seen, "copy the bundle again")
    return tuple(inputs[0].shape)
