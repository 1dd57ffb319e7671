"""An ONNX file → an engine, by TensorRT 10 or 11 for this device's GPU, or by TensorRT-RTX.

Only calls that all of them have are used, and every switch is set: none is left to a default that differs.
"""

from __future__ import annotations

import hashlib
import platform
import time
from typing import Any, NamedTuple

from pose_runtime.engines import Product, require_recent, tuned_on
from pose_runtime.errors import BadInput, CheckFailed
from pose_runtime.gpu import Gpu
from pose_runtime.runtimes.engine import INPUT, OUTPUT, logger_of

BODY_TYPE = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16", "int8": "HALF"}
"""What TensorRT calls the type of a precision's convolutions."""


class BuildPlan(NamedTuple):
    """What is asked of a builder; the precision lies in the ONNX file's types, and nothing here adds to it."""

    batches: tuple[int, int, int]
    """Smallest, usual and largest."""
    workspace_bytes: int
    optimization_level: int
    hardware_compatible: bool = False
    """Runs on every Ampere and newer GPU, more slowly; TensorRT only, and not on Jetsons."""
    version_compatible: bool = False
    """Runs on later versions of TensorRT, more slowly; TensorRT only."""
    targets: tuple[str, ...] = ()
    """Compute capabilities; TensorRT-RTX only."""


def build_engine(
    trt: Any, product: Product, model: bytes, precision: str, plan: BuildPlan, gpu: Gpu | None
) -> tuple[bytes, dict[str, Any]]:
    """Build; returns the engine and its record.

    Raises:
        BadInput: the library cannot read the model, or it is no pose network, or its layers have other types.
        CheckFailed: a setting did not stick, the builder refused, or logged an error although it built.
        NotPossible: this version of the library is too old.
    """
    require_recent(product, str(trt.__version__))
    logger, errors = logger_of(trt)
    del errors[:]
    builder = trt.Builder(logger)
    # By name: its number is 1 on TensorRT 10, and on 11 the same bit means something else.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model, ""):
        # Copied to strings here: reading an error after its parser is gone is a segmentation fault.
        said = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        do = "try another precision, or a newer version"
        raise BadInput(f"{product.name} {trt.__version__} cannot read the model", "; ".join(said) or "no reason", do)
    shape = check_network(network, precision)
    config = configure(trt, builder, plan)
    shapes = [[batch, *shape[1:]] for batch in plan.batches]
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, *map(tuple, shapes))
    require(config.add_optimization_profile(profile) == 0, "the profile", shapes, errors)
    started = time.monotonic()
    blob = builder.build_serialized_network(network, config)
    if blob is None or errors:  # some refusals are logged as an error and still return an engine
        do = "mend what the error names; give more workspace or a smaller largest batch if memory is short"
        raise CheckFailed(
            f"{product.name} {trt.__version__} built no sound engine", "; ".join(errors) or "no reason", do
        )
    record = {
        "runtime": product.module,
        "precision": precision,
        "onnx_sha256": hashlib.sha256(model).hexdigest(),
        "package_version": str(trt.__version__),
        "built_on": f"{platform.system()} {platform.machine()}",
        **tuned_on(None if plan.targets else gpu),
        "targets": list(plan.targets),
        "profile": {"min": shapes[0], "opt": shapes[1], "max": shapes[2]},
        "tf32": config.get_flag(trt.BuilderFlag.TF32),
        "workspace_bytes": plan.workspace_bytes,
        "optimization_level": plan.optimization_level,
        "hardware_compatible": plan.hardware_compatible,
        "version_compatible": plan.version_compatible,
        "build_seconds": time.monotonic() - started,
    }
    return bytes(blob), record


def configure(trt: Any, builder: Any, plan: BuildPlan) -> Any:
    """The builder's configuration, each setting read back.

    Raises:
        CheckFailed: a setting did not stick.
    """
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, plan.workspace_bytes)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # or the inspector tells names only
    config.builder_optimization_level = plan.optimization_level
    level = config.builder_optimization_level
    require(level == plan.optimization_level, f"optimisation level {plan.optimization_level}", level)
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default: FP32 would then multiply in TF32
    tf32 = config.get_flag(trt.BuilderFlag.TF32)
    require(tf32 is False, "TF32 off", tf32)
    if plan.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        taken = config.hardware_compatibility_level
        require(taken == trt.HardwareCompatibilityLevel.AMPERE_PLUS, "hardware compatibility", taken)
    if plan.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        require(config.get_flag(trt.BuilderFlag.VERSION_COMPATIBLE), "version compatibility", False)
    if plan.targets:
        config.num_compute_capabilities = len(plan.targets)
        for index, target in enumerate(plan.targets):
            capability = trt.ComputeCapability.__members__.get("SM" + target.replace(".", ""))
            known = capability is not None and config.set_compute_capability(capability, index)
            require(known, f"compute capability {target}", trt.__version__)
    return config


def check_network(network: Any, precision: str) -> tuple[int, ...]:
    """Shape of the one input, after comparing names and the types of what convolutions, softmax and sums give.

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


def require(good: bool, setting: str, seen: object, errors: list[str] | None = None) -> None:
    """A builder refuses a setting by returning False, and goes on without it."""
    if good is not True:
        raise CheckFailed(
            f"the builder did not take {setting}", f"{seen}; {'; '.join(errors or [])}", "ask for another"
        )
