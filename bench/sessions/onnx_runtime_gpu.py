"""ONNX Runtime on the GPU, by its CUDA provider or its TensorRT provider; what falls back to the CPU is found out.

``onnxruntime.get_available_providers`` only says what was compiled in. A provider whose libraries are missing is left
out by ONNX Runtime with a line in its log, and the session then runs on the CPU; so every session is asked afterwards.
"""

import contextlib
import ctypes
import io
import os
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.sessions.cuda import Cuda
from bench.sessions.exchange import Exchange, pinned_copy
from bench.sessions.onnx_placement import executed_graph
from bench.sessions.protocol import Joints, in_words
from export.common.errors import NotPossible
from export.common.gpu import device_name
from export.pipeline.steps import version
from export.runtime.exchange import BOUNDARIES
from export.runtime.onnx_runtime import open_session, session_options
from export.runtime.session import INPUT, usable_cores

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
PROVIDERS = {"onnxruntime-cuda": CUDA, "onnxruntime-tensorrt": TENSORRT}
LIBRARIES = {CUDA: "libonnxruntime_providers_cuda.so", TENSORRT: "libonnxruntime_providers_tensorrt.so"}
CPU = "CPUExecutionProvider"

TF32_VARIABLE = "NVIDIA_TF32_OVERRIDE"
"""``0`` keeps all NVIDIA libraries from TF32: the only way to tell ONNX Runtime's TensorRT provider
(github.com/microsoft/onnxruntime issue 26029)."""

LARGEST_BATCH = 8
"""Of the shapes that TensorRT is told beforehand, as in ``export.engine.plan``."""

ALLOWED = {"fp16": ("trt_fp16_enable",), "bf16": ("trt_bf16_enable",), "int8": ("trt_int8_enable",)}
"""What TensorRT may compute in, beside FP32. The provider's networks are weakly typed: more it cannot be told."""

RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
LEAVE_ASYNCHRONOUS = ("disable_synchronize_execution_providers", "1")
"""The stream is waited for by ``Exchange``, as for all GPU runtimes."""


class OnnxRuntimeGpu:
    """An ONNX file in a session on the GPU, its images and joints bound to memory there.

    Raises:
        NotPossible: the provider or its libraries do not load, or it has no kernel for the file's types.
    """

    def __init__(
        self, model: Path, precision: str, runtime: str, threads: int | None = None, *, cuda: Cuda | None = None
    ) -> None:
        self.runtime, self.precision, self.threads = runtime, precision, threads or usable_cores()
        self._model, self._provider = model, PROVIDERS[runtime]
        self._cuda = cuda or Cuda()  # imports torch, whose CUDA libraries ONNX Runtime then finds
        self._options = provider_options(self._provider, self._cuda.handle, precision, input_shape(model))
        self._session: Any = provider_session(model, self._provider, self._options, self.threads)
        (self._input,), (self._output,) = self._session.get_inputs(), self._session.get_outputs()
        self.takes_pixels = self._input.type == "tensor(uint8)"
        self.largest_batch = LARGEST_BATCH if self._provider == TENSORRT else 1 << 30
        self._shape: tuple[int, ...] | None = None
        self._exchange: Exchange
        self._binding: Any
        self._how = _asynchronous()

    def run(self, images: NDArray[Any]) -> Joints:
        """See ``Session``."""
        return self._fitting(images).run(images, self._launch)

    def bind(self, images: NDArray[Any]) -> Callable[[], object]:
        """See ``Bindable``."""
        return self._fitting(images).resident(images, self._launch)

    def pinned(self, images: NDArray[Any]) -> NDArray[Any]:
        """See ``Pinning``."""
        return pinned_copy(self._cuda, images)

    def device_ms(self) -> float:
        """See ``SelfTiming``: CUDA events around the last launch, on the stream that the provider was given."""
        return self._exchange.device_ms()

    def _fitting(self, images: NDArray[Any]) -> Exchange:
        """Memory for images of this shape, with the session bound to it."""
        import numpy as np

        if self._shape != images.shape:
            shape, joints = images.shape, (len(images), *self._output.shape[1:])
            exchange = Exchange(self._cuda, shape, joints, pixels=self.takes_pixels)
            assert exchange.output is not None
            binding, kind = self._session.io_binding(), np.uint8 if self.takes_pixels else np.float32
            place = self._cuda.device, 0
            binding.bind_input(self._input.name, *place, kind, shape, exchange.input.data_ptr())
            binding.bind_output(self._output.name, *place, np.float32, joints, exchange.output.data_ptr())
            self._exchange, self._binding, self._shape = exchange, binding, shape
        return self._exchange

    def _launch(self) -> None:
        self._session.run_with_iobinding(self._binding, self._how)

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``."""
        import onnxruntime

        providers, used = self._session.get_providers(), self._session.get_provider_options().get(self._provider, {})
        problems = [] if providers[0] == self._provider else [f"the session's providers are {providers}"]
        problems += fallen_back(self._session, self._provider)
        executed, types = None, None
        proof = "the types that TensorRT chose cannot be read back: parity is what is proven of them"
        if self._provider != TENSORRT:
            executed = executed_graph(self._model, session_options(self.threads), [(self._provider, self._options)])
            types = executed.convolutions
            proof = f"optimised graph: {in_words(types)}"
            if self.precision not in types:
                problems.append(f"not run in {self.precision}: {in_words(types)}")
        problems += tf32_problems(self._provider, used)
        return {
            "device": device_name() or "no NVIDIA GPU",
            "precision_used": None if types is None else "+".join(sorted(types)),
            "executed": None if executed is None else executed.as_facts(),
            "proof": f"{proof}; providers {providers}, nodes: {placed_in_words(placement(self._session))}",
            "threads": self._session.get_session_options().intra_op_num_threads,
            "versions": {"onnxruntime": onnxruntime.__version__},
            "options": {
                "providers": providers,
                "provider_options": {k: v for k, v in used.items() if k != "user_compute_stream"},
                TF32_VARIABLE: os.environ.get(TF32_VARIABLE),
                "cuda_graph": False,
                "boundaries": BOUNDARIES,
            },
            "problems": problems,
        }

    def describe(self) -> str:
        """See ``Session``."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}, {self._provider}, {device_name() or 'no NVIDIA GPU'}"

    def close(self) -> None:
        """See ``Session``."""
        self._binding = self._session = self._shape = None


def provider_options(provider: str, stream: int, precision: str, shape: tuple[int, ...]) -> dict[str, str]:
    """What the provider is told. ``shape``: of one image, without the batch."""
    options = {"user_compute_stream": str(stream)}
    if provider == CUDA:
        return options | {"use_tf32": "0"}
    if provider == TENSORRT:
        sizes = "x".join(map(str, shape))
        batches = {"min": 1, "opt": 1, "max": LARGEST_BATCH}
        options |= {f"trt_profile_{name}_shapes": f"{INPUT}:{batch}x{sizes}" for name, batch in batches.items()}
        return options | dict.fromkeys(ALLOWED.get(precision, ()), "1")
    return {}


def provider_session(model: Path, provider: str, options: dict[str, str], threads: int) -> Any:
    """A session in which this provider comes first, which ONNX Runtime does not promise by itself.

    Raises:
        NotPossible: it does not; the reason is what the provider's library lacks.
    """
    import onnxruntime

    _find_libraries(provider)
    how = session_options(threads)
    how.add_session_config_entry(RECORD_ASSIGNMENT, "1")
    do, trouble = "see `convnextpose doctor`, or choose --runtime onnxruntime", ""
    onnxruntime.set_default_logger_severity(4)  # what it would write is found out and told below
    try:
        session = open_session(model, how, [(provider, options)], enable_fallback=0)
    except Exception as error:  # of many kinds; there is no session in any case
        session, trouble = None, next(iter(str(error).strip().splitlines()), type(error).__name__)
    finally:
        onnxruntime.set_default_logger_severity(2)
    if session is None or session.get_providers()[:1] != [provider]:
        seen = why_not_loaded(provider) or trouble or f"the session fell back to {session.get_providers()}"
        raise NotPossible(f"ONNX Runtime's {provider} does not run this file", seen, do)
    session.disable_fallback()
    return session


def why_not_loaded(provider: str) -> str | None:
    """What keeps the provider's library from being loaded, in the loader's words; None if nothing does."""
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
    """Provider → kind of node → how many of the session's graph were given to it."""
    placed: dict[str, Counter[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        placed.setdefault(part.ep_name, Counter()).update(node.op_type for node in part.get_nodes())
    return placed


def placed_in_words(placed: dict[str, Counter[str]]) -> str:
    """``CUDAExecutionProvider 60``."""
    return ", ".join(f"{name} {kinds.total()}" for name, kinds in placed.items()) or "none"


def fallen_back(session: Any, provider: str) -> list[str]:
    """Nodes that run elsewhere than on the provider that was asked for."""
    placed = placement(session)
    total = sum(kinds.total() for kinds in placed.values())
    if not total:
        return ["ONNX Runtime does not say where its nodes run"]
    return [
        f"{kinds.total()} of {total} nodes run on {name}: {', '.join(sorted(kinds))}"
        for name, kinds in placed.items()
        if name != provider
    ]


def tf32_problems(provider: str, used: dict[str, str]) -> list[str]:
    """Why FP32 would be computed with 10 bits of mantissa."""
    if provider == CUDA and used.get("use_tf32") != "0":
        return ["TF32 is not switched off in the CUDA provider"]
    if provider == TENSORRT and os.environ.get(TF32_VARIABLE) != "0":
        return [f"TF32 is not switched off for TensorRT: {TF32_VARIABLE} is not 0"]
    return []


def input_shape(model: Path) -> tuple[int, ...]:
    """The shape of one image in the file, without the batch."""
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    return tuple(dimension.dim_value for dimension in graph.input[0].type.tensor_type.shape.dim[1:])


def _find_libraries(provider: str) -> None:
    """Load what the package index's wheels of CUDA, cuDNN and TensorRT brought, where the loader would not look."""
    import onnxruntime

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find; why_not_loaded says it better
        onnxruntime.preload_dlls()
    if provider == TENSORRT:
        with contextlib.suppress(ImportError, OSError):
            import_module("tensorrt")


def _asynchronous() -> Any:
    import onnxruntime

    how = onnxruntime.RunOptions()
    how.add_run_config_entry(*LEAVE_ASYNCHRONOUS)
    return how
