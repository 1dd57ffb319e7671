"""ONNX Runtime on the GPU, by its CUDA provider or its TensorRT provider, with checks for a fallback to the CPU.

``onnxruntime.get_available_providers`` only says what was compiled in. A provider without its libraries is left out by
ONNX Runtime with a line in its log, and the session then runs on the CPU; so every session is asked afterwards.
"""

import contextlib
import ctypes
import io
import os
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.sessions.gpu_boundaries import LARGEST_BATCH, GpuBoundaries, require_gpu, require_room
from bench.sessions.onnx_runtime import executed_graph
from export.common.errors import NotPossible
from export.pipeline.steps import version
from export.runtime.exchange import BOUNDARIES, Exchange
from export.runtime.gpu import Driver
from export.runtime.onnx_runtime import open_session, session_options
from export.runtime.processor import default_threads
from export.runtime.session import INPUT

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
PROVIDERS = {"onnxruntime-cuda": CUDA, "onnxruntime-tensorrt": TENSORRT}
LIBRARIES = {CUDA: "libonnxruntime_providers_cuda.so", TENSORRT: "libonnxruntime_providers_tensorrt.so"}
DEVICE = "cuda"

TF32_VARIABLE = "NVIDIA_TF32_OVERRIDE"
"""``0`` keeps all NVIDIA libraries from TF32: the only way to reach ONNX Runtime's TensorRT provider
(github.com/microsoft/onnxruntime issue 26029)."""

LARGEST_TENSORRT_BATCH = 8
"""Largest batch of the shapes that TensorRT gets beforehand, as in ``export.engine.plan``."""

ENABLED_TYPES = {"fp16": ("trt_fp16_enable",), "bf16": ("trt_bf16_enable",), "int8": ("trt_int8_enable",)}
"""Types that TensorRT may compute in beside FP32. The provider's networks are weakly typed: no more can be set."""

RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
LEAVE_ASYNCHRONOUS = ("disable_synchronize_execution_providers", "1")
"""``Exchange`` waits for the stream, as for all GPU runtimes."""


class OnnxRuntimeGpu(GpuBoundaries):
    """An ONNX file in a session on the GPU, with images and joints bound to memory there.

    Raises:
        NotPossible: there is no GPU, the provider or its libraries do not load, or it has no kernel for the file's
            types.
    """

    def __init__(self, model: Path, precision: str, runtime: str, threads: int | None = None) -> None:
        import onnxruntime

        self.runtime, self.precision, self.threads = runtime, precision, threads or default_threads()
        self._model, self._provider, self._gpu = model, PROVIDERS[runtime], require_gpu()
        self.largest_batch = LARGEST_TENSORRT_BATCH if self._provider == TENSORRT else LARGEST_BATCH
        image, joints, self.takes_pixels = model_shapes(model)
        self._largest = (self.largest_batch, *image)
        self._exchange: Exchange | None = Exchange(
            Driver(), self._largest, (self.largest_batch, *joints), pixels=self.takes_pixels
        )
        self._options = provider_options(self._provider, self._exchange.stream_handle, precision, image)
        self._session: Any = provider_session(model, self._provider, self._options, self.threads)
        (self._input,), (self._output,) = self._session.get_inputs(), self._session.get_outputs()
        self._shape: tuple[int, ...] | None = None
        self._binding: Any = None
        self._run_options = onnxruntime.RunOptions()
        self._run_options.add_run_config_entry(*LEAVE_ASYNCHRONOUS)

    def _fitting(self, images: NDArray[Any]) -> Exchange:
        exchange, shape = self._open_exchange(), images.shape
        if self._shape != shape:
            require_room(images, self._largest, "uint8" if self.takes_pixels else "float32")
            joints = (len(images), *self._output.shape[1:])
            self._binding = self._session.io_binding()
            self._binding.bind_input(self._input.name, DEVICE, 0, images.dtype.type, shape, exchange.images.value)
            self._binding.bind_output(self._output.name, DEVICE, 0, np.float32, joints, exchange.joints.value)
            self._shape = shape
        return exchange

    def _launch(self) -> None:
        self._session.run_with_iobinding(self._binding, self._run_options)

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``."""
        import onnxruntime

        providers, options = self._session.get_providers(), self._session.get_provider_options().get(self._provider, {})
        problems = [] if providers[0] == self._provider else [f"the session's providers are {providers}"]
        problems += fallen_back(self._session, self._provider) + tf32_problems(self._provider, options)
        executed = None
        proof = "the types that TensorRT chose cannot be read back: parity is the only proof of them"
        if self._provider != TENSORRT:
            executed = executed_graph(self._model, session_options(self.threads), [(self._provider, self._options)])
            proof = f"optimised graph: {executed}"
            if self.precision not in executed.convolutions:
                problems.append(f"not run in {self.precision}: {executed}")
        nodes = ", ".join(f"{name} {kinds.total()}" for name, kinds in placement(self._session).items())
        return {
            "device": str(self._gpu),
            "precision_used": None if executed is None else "+".join(sorted(executed.convolutions)),
            "executed": None if executed is None else executed.as_facts(),
            "proof": f"{proof}; providers {providers}, nodes: {nodes or 'none'}",
            "threads": self._session.get_session_options().intra_op_num_threads,
            "versions": {"onnxruntime": onnxruntime.__version__},
            "options": {
                "providers": providers,
                "provider_options": {k: v for k, v in options.items() if k != "user_compute_stream"},
                TF32_VARIABLE: os.environ.get(TF32_VARIABLE),
                "cuda_graph": False,
                "boundaries": BOUNDARIES,
            },
            "problems": problems,
        }

    def describe(self) -> str:
        """See ``Session``."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}, {self._provider}, {self._gpu}"

    def close(self) -> None:
        """See ``Session``."""
        self._binding = self._session = self._shape = None
        super().close()


def provider_options(provider: str, stream: int, precision: str, image: tuple[int, ...]) -> dict[str, str]:
    """Return the provider's options. ``image``: shape of one image, without the batch."""
    options = {"user_compute_stream": str(stream)}
    if provider == CUDA:
        return options | {"use_tf32": "0"}
    if provider == TENSORRT:
        sizes = "x".join(map(str, image))
        batches = {"min": 1, "opt": 1, "max": LARGEST_TENSORRT_BATCH}
        options |= {f"trt_profile_{name}_shapes": f"{INPUT}:{batch}x{sizes}" for name, batch in batches.items()}
        return options | dict.fromkeys(ENABLED_TYPES.get(precision, ()), "1")
    return {}


def provider_session(model: Path, provider: str, options: dict[str, str], threads: int) -> Any:
    """Return a session in which this provider comes first, which ONNX Runtime itself does not promise.

    Raises:
        NotPossible: it does not come first; the reason is what the provider's library lacks.
    """
    import onnxruntime

    _load_libraries(provider)
    settings = session_options(threads)
    settings.add_session_config_entry(RECORD_ASSIGNMENT, "1")
    session: Any = None
    reason = ""
    onnxruntime.set_default_logger_severity(4)  # the error below has all that it would write
    try:
        session = open_session(model, settings, [(provider, options)], enable_fallback=0)
    except Exception as error:  # of many kinds; there is no session in any case
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    finally:
        onnxruntime.set_default_logger_severity(2)
    if session is None or session.get_providers()[:1] != [provider]:
        detail = why_not_loaded(provider) or reason or f"the session fell back to {session.get_providers()}"
        advice = "see `convnextpose doctor`, or choose --runtime onnxruntime"
        raise NotPossible(f"ONNX Runtime's {provider} does not run this file", detail, advice)
    session.disable_fallback()
    return session


def why_not_loaded(provider: str) -> str | None:
    """Return the loader's reason for not loading the provider's library; None if it loads."""
    import onnxruntime

    if provider not in LIBRARIES:
        return None
    library = Path(onnxruntime.__file__).parent / "capi" / LIBRARIES[provider]
    if not library.is_file():
        return f"onnxruntime {onnxruntime.__version__} was built without it; install onnxruntime-gpu"
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        installed = version("tensorrt")
        needs = f" (it needs TensorRT 10; installed: tensorrt {installed})" if "libnvinfer" in str(error) else ""
        return f"{error}{needs}"
    return None


def placement(session: Any) -> dict[str, Counter[str]]:
    """Count the nodes that each provider runs, by operator."""
    nodes: dict[str, Counter[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        nodes.setdefault(part.ep_name, Counter()).update(node.op_type for node in part.get_nodes())
    return nodes


def fallen_back(session: Any, provider: str) -> list[str]:
    """Return a problem for each other provider that runs nodes."""
    nodes = placement(session)
    total = sum(kinds.total() for kinds in nodes.values())
    if not total:
        return ["ONNX Runtime does not report which provider runs its nodes"]
    return [
        f"{kinds.total()} of {total} nodes run on {name}: {', '.join(sorted(kinds))}"
        for name, kinds in nodes.items()
        if name != provider
    ]


def tf32_problems(provider: str, options: dict[str, str]) -> list[str]:
    """Return a problem where FP32 would be multiplied with 10 bits of mantissa."""
    if provider == CUDA and options.get("use_tf32") != "0":
        return ["TF32 is not switched off in the CUDA provider"]
    if provider == TENSORRT and os.environ.get(TF32_VARIABLE) != "0":
        return [f"TF32 is not switched off for TensorRT: {TF32_VARIABLE} is not 0"]
    return []


def model_shapes(model: Path) -> tuple[tuple[int, ...], tuple[int, ...], bool]:
    """Return the shapes of one image and of its joints, and whether the file takes pixels."""
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    types = graph.input[0].type.tensor_type, graph.output[0].type.tensor_type
    image, joints = (tuple(dimension.dim_value for dimension in kind.shape.dim[1:]) for kind in types)
    return image, joints, types[0].elem_type == onnx.TensorProto.UINT8


def _load_libraries(provider: str) -> None:
    """Load CUDA, cuDNN and TensorRT from the package index's wheels, where the loader would not look."""
    import onnxruntime

    with contextlib.suppress(ImportError):
        import_module("torch")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what is missing; why_not_loaded says it better
        onnxruntime.preload_dlls()
    if provider == TENSORRT:
        with contextlib.suppress(ImportError, OSError):
            import_module("tensorrt")
