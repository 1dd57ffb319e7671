"""What TensorRT and TensorRT-RTX have in common: an engine in one execution context on the first GPU."""

from __future__ import annotations

import importlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pose_runtime.bundle import Bundle
from pose_runtime.engines import Product, find_engine, rebuild_command, require_recent
from pose_runtime.errors import BadInput, CheckFailed, NotPossible
from pose_runtime.gpu import Driver, Exchange, first_gpu

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INPUT, OUTPUT = "image", "joints"


class EngineNetwork:
    """An engine that is loaded, with memory for its largest batch. Kernels are launched one by one: no CUDA graph.

    Raises:
        CheckFailed: the engine is not what the manifest or its record says, or does not take what it promises.
        NotPossible: the library is too old, no GPU, no engine that fits it, or no room.
    """

    runtime: str
    product: Product

    def __init__(self, bundle: Bundle, precision: str, threads: int | None = None) -> None:
        trt = importlib.import_module(self.product.module)
        self.precision, self._version = precision, str(trt.__version__)
        require_recent(self.product, self._version)
        driver = Driver()
        self._gpu = first_gpu(driver)
        engine = find_engine(bundle, self.product, precision, self._version, self._gpu)
        self._record, self.artifact, self.artifact_sha256 = engine.record, engine.place, engine.record["sha256"]
        self._file = engine.file
        self._rebuild = rebuild_command(self.product.module, precision)
        self._logger, self._errors = logger_of(trt)
        del self._errors[:]
        self._runtime = trt.Runtime(self._logger)  # the engine must not outlive it
        self._runtime.engine_host_code_allowed = self._record["version_compatible"]
        self._engine = self._runtime.deserialize_cuda_engine(engine.content)
        if self._engine is None:
            what = f"{self.product.name} {self._version} does not load {self._file}"
            raise NotPossible(what, self._said(), f"build it again: {self._rebuild}")
        check_interface(trt, self._engine, self._file, self._record["profile"])
        self._trt = trt
        self._context = self._new_context(trt)
        if self._context is None:
            raise NotPossible(f"no room to run {self._file}", self._said(), "close what else uses the GPU")
        largest = tuple(self._record["profile"]["max"])
        self._smallest, self.largest_batch = self._record["profile"]["min"][0], largest[0]
        self._set_shape(largest)
        self._exchange = Exchange(driver, largest, tuple(self._context.get_tensor_shape(OUTPUT)))
        for name, address in ((INPUT, self._exchange.images), (OUTPUT, self._exchange.joints)):
            self._require(self._context.set_tensor_address(name, address.value), f"the address of {name}")

    def _new_context(self, trt: Any) -> Any:
        return self._engine.create_execution_context()

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Network``.

        Raises:
            BadInput: a batch that the engine does not take.
            CheckFailed: the launch failed.
        """
        if not self._smallest <= len(images) <= self.largest_batch:
            seen = f"{self._smallest} to {self.largest_batch}"
            do = f"run fewer at a time, or {self._rebuild} --batches {self._smallest},{self._smallest},{len(images)}"
            raise BadInput(f"a batch of {len(images)} is outside of the engine's profile", seen, do)
        self._set_shape(images.shape)
        self._exchange.put(images)
        self._require(self._context.execute_async_v3(self._exchange.stream_handle), "the launch")
        return self._exchange.take(len(images))

    def describe(self) -> str:
        """See ``Network``."""
        return f"{self.product.name} {self._version}, {self._gpu}"

    def threads(self) -> int | None:
        """See ``Network``."""
        return None

    def computes_in(self) -> str:
        """See ``Network``: what the engine's inspector says of its convolutions."""
        told = self._engine.create_engine_inspector().get_engine_information(self._trt.LayerInformationFormat.JSON)
        return convolution_types(told) or "not told by the engine's inspector; the network was strongly typed"

    def close(self) -> None:
        """See ``Network``."""
        self._context = self._engine = None
        self._exchange.close()

    def _set_shape(self, shape: tuple[int, ...]) -> None:
        self._require(self._context.set_input_shape(INPUT, tuple(shape)), f"the shape {tuple(shape)}")
        self._require(not self._context.infer_shapes(), f"the shape {tuple(shape)}")

    def _require(self, good: bool, what: str) -> None:
        if good is not True:
            raise CheckFailed(f"{self._file} does not take {what}", self._said(), f"build it again: {self._rebuild}")

    def _said(self) -> str:
        return "; ".join(self._errors) or "no error in the log"


def check_interface(trt: Any, engine: Any, artifact: str, profile: dict[str, Any]) -> None:
    """See that inputs, outputs, types and profile are those of the record.

    Raises:
        CheckFailed: they are not.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    found = {name: (engine.get_tensor_mode(name), engine.get_tensor_dtype(name)) for name in names}
    wanted = {
        INPUT: (trt.TensorIOMode.INPUT, trt.DataType.FLOAT),
        OUTPUT: (trt.TensorIOMode.OUTPUT, trt.DataType.FLOAT),
    }
    if found != wanted:
        seen = ", ".join(f"{name}: {mode.name} {kind.name}" for name, (mode, kind) in found.items())
        raise CheckFailed(f"{artifact} has other inputs or outputs than a pose network", seen, "build it again")
    shapes = [list(shape) for shape in engine.get_tensor_profile_shape(INPUT, 0)]
    promised = [list(profile[which]) for which in ("min", "opt", "max")]
    if shapes != promised:
        raise CheckFailed(f"{artifact} takes other shapes than promised", f"{shapes}, not {promised}", "build it again")


def convolution_types(told: str) -> str:
    """The types of what convolutions give, from an inspector's JSON; empty where it says nothing of them.

    A type stands in ``Format/Datatype`` up to TensorRT 10, in ``DataType`` since 11.
    """
    try:
        layers = json.loads(told)["Layers"]
    except (ValueError, KeyError, TypeError):
        return ""
    detailed = [layer for layer in layers if isinstance(layer, dict)]
    outputs = [
        o for layer in detailed if "conv" in str(layer.get("LayerType")).lower() for o in layer.get("Outputs", ())
    ]
    kinds = {str(output.get("DataType") or output.get("Format/Datatype")) for output in outputs}
    return " and ".join(sorted(kinds - {"None"}))


@lru_cache(maxsize=None)
def logger_of(trt: Any) -> tuple[Any, list[str]]:
    """The process's only logger of this library, which keeps the first that it is given, and the errors it heard."""
    errors: list[str] = []

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if int(severity) <= int(trt.ILogger.ERROR):
                errors.append(text)

    return Logger(), errors
