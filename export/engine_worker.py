"""The child process that builds one engine; ``export.engine`` starts it and reads its JSON lines.

Only what ``export.tensorrt_api`` declares is called: what TensorRT 10.3 to 11.4 and TensorRT-RTX 1.7 share, and the
compute capabilities of RTX.
"""

import contextlib
import hashlib
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from export.engine import BACKENDS, Backend, EnginePlan
from export.engine_layers import inspect_engine, require_kept
from export.errors import BadInput, CheckFailed, Failure, NotPossible
from export.interface import INPUT, OUTPUT
from export.tensorrt_api import (
    Builder,
    Enumerator,
    IBuilderConfig,
    ILogger,
    INetworkDefinition,
    IProgressMonitor,
    ParserError,
    TensorRT,
)
from export.timing_cache import keep_timing_cache, use_timing_cache

NOISE = "cudaError 35"
"""Without a driver most errors are followed by this one; it says nothing about the model."""
BODY_TYPE = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16", "int8": "HALF"}
"""What TensorRT calls the type of a precision's convolutions."""
MEMORY_WORDS = ("workspace", "outofmemory", "out of memory")

Send = Callable[[dict[str, Any]], None]


class Phases:
    """The builder's nested phases as one share of the whole (0 to 1) that never falls."""

    def __init__(self) -> None:
        self.share = 0.0
        self._open: dict[str, tuple[float, float, int]] = {}  # begin, width of a step, steps done

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase fills the step that its parent is in; one without a known parent fills the whole."""
        begin, width, done = self._open.get(parent or "", (0.0, 1.0, 0))
        self._open[phase] = (begin + width * done, width / max(steps, 1), 0)

    def step(self, phase: str, step: int) -> None:
        """Step number ``step``, from 0, is done."""
        begin, width, _ = self._open[phase]
        self._open[phase] = (begin, width, step + 1)
        self.share = max(self.share, min(begin + width * (step + 1), 1.0))


def make_logger(trt: TensorRT, send: Send, errors: list[str]) -> ILogger:
    """The process's only logger: the library keeps the first one that it is given."""

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Enumerator, text: str) -> None:
            if int(severity) <= int(trt.ILogger.ERROR):
                errors.append(text)
            if int(severity) <= int(trt.ILogger.INFO):
                send({"log": f"{severity.name} {text}"})

    return Logger()


def make_monitor(trt: TensorRT, send: Send) -> IProgressMonitor:
    """Reports each further hundredth. An exception, or anything but True, would cancel the build."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases, self.lock, self.sent = Phases(), threading.Lock(), 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with contextlib.suppress(Exception), self.lock:
                self.phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with contextlib.suppress(Exception), self.lock:
                self.phases.step(phase_name, step)
                if self.phases.share >= self.sent + 0.01:
                    self.sent = self.phases.share
                    send({"progress": phase_name, "share": self.sent})
            return True

        def phase_finish(self, phase_name: str) -> None:
            """Nothing to add: its last step has been reported."""

    return Monitor()


def build(
    trt: TensorRT, backend: Backend, onnx: Path, engine: Path, plan: EnginePlan, send: Send, cache: Path | None = None
) -> dict[str, Any]:
    """Write the plan to ``engine``; returns the facts for its record. A timing ``cache`` is used and kept.

    Raises:
        BadInput: the model is not one that can be built under this plan.
        CheckFailed: the builder refused, or it logged an error although it returned a plan.
    """
    errors: list[str] = []
    logger, monitor = make_logger(trt, send, errors), make_monitor(trt, send)
    builder = trt.Builder(logger)
    # By name: its number is 1 on TensorRT 10, and on 11 the same bit means something else.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    model = onnx.read_bytes()
    if not parser.parse(model, str(onnx)):
        # Copied to strings here: reading an error after its parser is gone is a segmentation fault.
        bad = [describe(parser.get_error(index)) for index in range(parser.num_errors)]
        do = "export the model again with the operators and types that the message names mended"
        raise BadInput(f"{backend.product} cannot read {onnx}", "; ".join(bad) or "no reason given", do)
    shape = check_interface(network, onnx)
    precision = check_types(model, onnx, plan)
    layer_types = count_types(network)
    check_layers(layer_types, onnx, precision)
    shapes = profile_shapes(shape, plan)
    config = configure(trt, builder, plan)
    config.progress_monitor = monitor
    if cache is not None:
        use_timing_cache(config, cache)
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, *shapes)
    require(config.add_optimization_profile(profile) == 0, "the profile", shapes, errors)
    start = time.perf_counter()
    blob = builder.build_serialized_network(network, config)
    build_seconds = time.perf_counter() - start
    if blob is None or errors:  # some refusals are logged as an error and still return a plan
        seen = relevant(errors)
        if any(word in seen.lower() for word in MEMORY_WORDS):
            what = f"{plan.workspace_bytes} bytes of workspace are too few for {onnx}"
            raise BadInput(what, seen, "give more workspace, or a smaller largest batch")
        raise CheckFailed(f"{backend.product} built no sound engine from {onnx}", seen, "mend what the error names")
    engine.write_bytes(blob)
    inspected = None
    if cache is not None:
        keep_timing_cache(config, cache)
        inspected = inspect(trt, logger, bytes(blob), plan, engine)
    return {
        "package_version": str(trt.__version__),
        "precision": precision,
        "layer_types": layer_types,
        "inspected": inspected,
        "tf32": config.get_flag(trt.BuilderFlag.TF32),
        "input": INPUT,
        "shapes": shapes,
        "build_seconds": build_seconds,
        "size_bytes": blob.nbytes,
        "onnx_sha256": hashlib.sha256(model).hexdigest(),
    }


def inspect(trt: TensorRT, logger: ILogger, blob: bytes, plan: EnginePlan, path: Path) -> dict[str, Any]:
    """Load the new engine on the GPU that it was built on, and see that it keeps its promise.

    Raises:
        CheckFailed: it does not load, or computes in other types than the plan's.
    """
    runtime = trt.Runtime(logger)
    runtime.engine_host_code_allowed = plan.version_compatible
    engine = runtime.deserialize_cuda_engine(blob)
    if engine is None:
        raise CheckFailed(f"the new engine {path} does not load", "the builder's log says why", "build again")
    layers = inspect_engine(trt, engine, plan.precision, tf32=plan.tf32)
    require_kept(path, layers)
    return asdict(layers)


def configure(trt: TensorRT, builder: Builder, plan: EnginePlan) -> IBuilderConfig:
    """The builder's configuration, each setting checked.

    Raises:
        CheckFailed: a setting did not stick.
    """
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, plan.workspace_bytes)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # or the inspector tells names only
    config.builder_optimization_level = plan.optimization_level
    level = config.builder_optimization_level
    require(level == plan.optimization_level, f"optimisation level {plan.optimization_level}", level)
    # On by default: an engine from FP32 weights would then multiply in TF32.
    (config.set_flag if plan.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    tf32 = config.get_flag(trt.BuilderFlag.TF32)
    require(tf32 is plan.tf32, f"TF32 {plan.tf32}", tf32)
    if plan.hardware_compatible:  # TensorRT-RTX warns where this is but read
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


def check_interface(network: INetworkDefinition, onnx: Path) -> tuple[int, ...]:
    """Shape of the one input, -1 where it is open, after comparing the names that all consumers rely on.

    Raises:
        BadInput: other inputs or outputs, or none: a file of no content parses without an error.
    """
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    names = ([tensor.name for tensor in inputs], [tensor.name for tensor in outputs])
    if names != ([INPUT], [OUTPUT]):
        seen = f"{network.num_layers} layers, inputs {', '.join(names[0])}, outputs {', '.join(names[1])}"
        raise BadInput(f"{onnx} is not a pose network", seen, f"name its one input {INPUT}, its one output {OUTPUT}")
    return tuple(inputs[0].shape)


def check_types(model: bytes, path: Path, plan: EnginePlan) -> str:
    """The precision that the types in the ONNX file say.

    Read from the file, since the parser narrows float64 to float32 without a word and then reports float32.

    Raises:
        BadInput: the output is not float32, the input neither that nor pixels; the precision is not the plan's, or
            weights lie in other files.
    """
    from onnx import ModelProto, TensorProto

    graph = ModelProto.FromString(model).graph
    weights = {tensor.name for tensor in graph.initializer}
    for value in [*(value for value in graph.input if value.name not in weights), *graph.output]:
        pixels = (TensorProto.UINT8,) if value.name == INPUT else ()
        if (kind := value.type.tensor_type.elem_type) not in (TensorProto.FLOAT, *pixels):
            seen = f"{value.name} is {TensorProto.DataType.Name(kind)}"
            raise BadInput(f"{path} has an input or output that is not float32", seen, "cast inside the network")
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in graph.initializer):
        do = "save it as one file; the hash that identifies the engine covers that file"
        raise BadInput(f"{path} is not the whole model", "weights in other files", do)
    kinds = {tensor.data_type for tensor in graph.initializer}
    kinds |= {attribute.i for node in graph.node if node.op_type == "Cast" for attribute in node.attribute}
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node):
        precision = "int8"
    elif TensorProto.BFLOAT16 in kinds:
        precision = "bf16"
    else:
        precision = "fp16" if TensorProto.FLOAT16 in kinds else "fp32"
    if precision != plan.precision:
        do = f"ask for {precision}, or export the model in {plan.precision}"
        raise BadInput(f"{path} has another precision than the plan", f"{precision}, not {plan.precision}", do)
    return precision


def count_types(network: INetworkDefinition) -> dict[str, dict[str, int]]:
    """Kind of layer → type of what it gives → how many. Networks are strongly typed, so this is what will be run."""
    counts: dict[str, dict[str, int]] = {}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for output in range(layer.num_outputs):
            of_kind = counts.setdefault(layer.type.name, {})
            kind = layer.get_output(output).dtype.name
            of_kind[kind] = of_kind.get(kind, 0) + 1
    return counts


def check_layers(layer_types: dict[str, dict[str, int]], path: Path, precision: str) -> None:
    """See that convolutions give the precision's type, and that softmax and sums are FP32.

    Raises:
        BadInput: a layer has another type.
    """
    wanted = {"CONVOLUTION": BODY_TYPE.get(precision), "SOFTMAX": "FLOAT", "REDUCE": "FLOAT"}
    for layer, kind in wanted.items():
        if kind is not None and not layer_types.get(layer, {}).keys() <= {kind}:
            do = "export the model again; its precision lies in its types"
            seen = ", ".join(f"{count} {name}" for name, count in layer_types[layer].items())
            raise BadInput(f"{path} has {layer} layers that are not {kind}", seen, do)


def profile_shapes(shape: tuple[int, ...], plan: EnginePlan) -> list[tuple[int, ...]]:
    """The input's smallest, usual and largest shape.

    Raises:
        BadInput: something other than the batch is open, or a fixed batch is not the plan's.
    """
    batches = (plan.batch_min, plan.batch_opt, plan.batch_max)
    if not (len(shape) == 4 and all(size > 0 for size in shape[1:])):
        raise BadInput(f"{INPUT} must be open in the batch only", str(shape), "export with all other sizes fixed")
    if shape[0] != -1 and {shape[0]} != set(batches):
        do = f"export with an open batch, or ask for {shape[0]} only"
        raise BadInput(f"the batch of {INPUT} is fixed", f"{shape[0]}; asked for {batches} (min, opt, max)", do)
    return [(batch, *shape[1:]) for batch in batches]


def require(good: bool, setting: str, seen: object, errors: list[str] | None = None) -> None:
    """A builder refuses a setting by returning False, and goes on without it."""
    if good is not True:
        raise CheckFailed(f"the builder did not take {setting}", f"{seen}; {relevant(errors or [])}", "ask for another")


def describe(error: ParserError) -> str:
    """One parser error as text: node, name, operator, code and description."""
    where = f"node {error.node()} {error.node_name()!r} ({error.node_operator()}): " if error.node() >= 0 else ""
    return f"{where}{error.code().name}: {relevant(error.desc().splitlines())}"


def relevant(errors: list[str]) -> str:
    """The errors that say something, or all of them if none does."""
    return "; ".join([error for error in errors if NOISE not in error] or errors) or "no error in the log"


def open_channel() -> Send:
    """Sends JSON lines to the parent. Whatever the libraries print goes to stderr instead of between them."""
    channel, lock = os.fdopen(os.dup(1), "w", encoding="utf-8"), threading.Lock()
    os.dup2(2, 1)

    def send(message: dict[str, Any]) -> None:
        with lock:
            channel.write(json.dumps(message) + "\n")
            channel.flush()

    return send


def end_with_parent() -> None:
    """Leave when the parent has closed our stdin, or died: nobody would collect the engine."""
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    """Build what the first argument describes, and send the outcome."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches parent and child; only the parent has to speak
    threading.Thread(target=end_with_parent, daemon=True).start()
    send = open_channel()
    job = json.loads(sys.argv[1])
    backend, targets = BACKENDS[job["backend"]], job["plan"]["targets"]
    cache = Path(job["timing_cache"]) if "timing_cache" in job else None
    plan = EnginePlan(**{**job["plan"], "targets": None if targets is None else tuple(targets)})
    try:
        send({"progress": f"loading {backend.product}", "share": 0.0})
        try:
            trt: TensorRT = importlib.import_module(backend.module)
        except (ImportError, OSError) as error:
            do = f"install {backend.module} again"
            raise NotPossible(f"{backend.product} is installed but does not load", str(error), do) from error
        send({"result": build(trt, backend, Path(job["onnx"]), Path(job["engine"]), plan, send, cache)})
    except Failure as failure:
        send({"failure": [failure.what, failure.seen, failure.do], "exit_code": failure.exit_code})
    except OSError as error:
        do = "make room on the disk, or check the folder's permissions"
        send({"failure": ["cannot read the model or write the engine", str(error), do], "exit_code": 2})


if __name__ == "__main__":
    main()
