"""Building of an engine from an ONNX model, by TensorRT 10 or 11 or by TensorRT-RTX.

Only calls that all of them have are used, and every switch is set, since their defaults differ.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .engine_file import Product, require_recent
from .errors import BadInput, CheckFailed
from .session import INPUT
from .tensorrt_log import relevant

if TYPE_CHECKING:
    from .tensorrt_api import Builder, IBuilderConfig, IHostMemory, ILogger, INetworkDefinition, ParserError, TensorRT

NO_ONNX = "MODEL_DESERIALIZE_FAILED"
"""The parser's code for bytes that are no ONNX model."""
MEMORY_WORDS = ("workspace", "outofmemory", "out of memory")


class BuilderSettings(NamedTuple):
    """Settings of a builder. The precision is no setting: it lies in the ONNX model's types."""

    workspace_bytes: int
    optimization_level: int
    tf32: bool = False
    """Multiply FP32 with 10 bits of mantissa."""
    hardware_compatible: bool = False
    """Runs on every Ampere and newer GPU, more slowly; TensorRT only, and not on Jetsons."""
    version_compatible: bool = False
    """Runs on later versions of TensorRT, more slowly; TensorRT only."""
    targets: tuple[str, ...] = ()
    """Compute capabilities; TensorRT-RTX only."""


class Build:
    """One build: the parsed network, its configuration, and the engine.

    Raises:
        BadInput: the library cannot read the model.
        CheckFailed: the builder refused a setting.
        NotPossible: the library is too old.
    """

    def __init__(
        self,
        trt: TensorRT,
        product: Product,
        logger: ILogger,
        errors: list[str],
        model: bytes,
        name: str,
        settings: BuilderSettings,
    ) -> None:
        require_recent(product, str(trt.__version__))
        self._trt, self._errors, self._settings, self._name = trt, errors, settings, name
        self._title = f"{product.name} {trt.__version__}"
        self._builder: Builder = trt.Builder(logger)
        # By name: the number is 1 in TensorRT 10, and means something else in 11.
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self.network: INetworkDefinition = self._builder.create_network(flags)
        self._parser = trt.OnnxParser(self.network, logger)
        if not self._parser.parse(model, name):
            # Copied to strings here: reading an error after its parser is gone is a segmentation fault.
            refusals = [describe(self._parser.get_error(index)) for index in range(self._parser.num_errors)]
            advice = "correct the nodes that the message names, or export the model again; or try a newer version"
            if refusals and all(NO_ONNX in refusal for refusal in refusals):
                advice = "it is no ONNX model, or cut off: copy it or export it again"
            raise BadInput(f"{self._title} cannot read {name}", "; ".join(refusals) or "no reason in the log", advice)
        self.config: IBuilderConfig = configure(trt, self._builder, settings)
        self.seconds = 0.0

    @property
    def tf32(self) -> bool:
        """State of the TF32 switch, read back from the builder."""
        return self.config.get_flag(self._trt.BuilderFlag.TF32)

    def run(self, shapes: Sequence[tuple[int, ...]]) -> IHostMemory:
        """Build for the input's smallest, usual and largest shape; return the serialised engine.

        Raises:
            BadInput: too little workspace.
            CheckFailed: the builder refused, or logged an error although it built.
        """
        profile = self._builder.create_optimization_profile()
        low, usual, high = shapes
        profile.set_shape(INPUT, low, usual, high)
        require(self.config.add_optimization_profile(profile) == 0, "the profile", shapes, self._errors)
        start = time.perf_counter()
        blob = self._builder.build_serialized_network(self.network, self.config)
        self.seconds = time.perf_counter() - start
        if blob is not None and not self._errors:
            return blob
        reasons = relevant(self._errors)  # some refusals are logged as an error and still return an engine
        if any(word in reasons.lower() for word in MEMORY_WORDS):
            problem = f"{self._settings.workspace_bytes} bytes of workspace are too few for {self._name}"
            raise BadInput(problem, reasons, "give more workspace, or a smaller largest batch")
        advice = "correct the model or setting that the error names"
        raise CheckFailed(f"{self._title} built no sound engine from {self._name}", reasons, advice)


def configure(trt: TensorRT, builder: Builder, settings: BuilderSettings) -> IBuilderConfig:
    """Return the builder's configuration, each setting read back.

    Raises:
        CheckFailed: the builder refused a setting.
    """
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_bytes)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # otherwise the inspector gives names only
    config.builder_optimization_level = settings.optimization_level
    level = config.builder_optimization_level
    require(level == settings.optimization_level, f"optimisation level {settings.optimization_level}", level)
    # TF32 is on by default.
    (config.set_flag if settings.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    tf32 = config.get_flag(trt.BuilderFlag.TF32)
    require(tf32 is settings.tf32, "TF32 on" if settings.tf32 else "TF32 off", tf32)
    if settings.hardware_compatible:  # even reading it makes TensorRT-RTX warn
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        compatibility = config.hardware_compatibility_level
        require(compatibility == trt.HardwareCompatibilityLevel.AMPERE_PLUS, "hardware compatibility", compatibility)
    if settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        require(config.get_flag(trt.BuilderFlag.VERSION_COMPATIBLE), "version compatibility", False)
    if settings.targets:
        config.num_compute_capabilities = len(settings.targets)
        for index, target in enumerate(settings.targets):
            capability = trt.ComputeCapability.__members__.get("SM" + target.replace(".", ""))
            known = capability is not None and config.set_compute_capability(capability, index)
            require(known, f"compute capability {target}", trt.__version__)
    return config


def require(accepted: bool, setting: str, value: object, errors: Sequence[str] = ()) -> None:
    """Check that the builder accepted a setting: it refuses one by returning False, and goes on without it.

    Raises:
        CheckFailed: it did not.
    """
    if accepted is not True:
        detail = f"{value}; {relevant(list(errors))}"
        raise CheckFailed(f"the builder did not take {setting}", detail, "choose another value")


def describe(error: ParserError) -> str:
    """Return one parser error as text: node, name, operator, code and description."""
    where = f"node {error.node()} {error.node_name()!r} ({error.node_operator()}): " if error.node() >= 0 else ""
    return f"{where}{error.code().name}: {relevant(error.desc().splitlines())}"
