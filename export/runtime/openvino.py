"""Sessions of OpenVINO on the processor, with its compute precision pinned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import NotPossible
from .processor import default_threads
from .session import Images, Joints, Model

FILE_TYPES = {"INFERENCE_PRECISION_HINT": "f32"}
"""Option that makes OpenVINO's CPU plug-in keep to the types of the file.

By default it may compute FP32 and FP16 files in BF16. With ``bf16`` it also rounds the convolutions of a BF16 file that
the plan keeps in FP32 (observed with 2026.4.1).
"""
TYPE_NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "uint8"}
"""OpenVINO's names of types → NumPy's."""

SATURATES = "this processor adds pairs of int8 products in 16 bits, which saturate (no VNNI)"
PROBE, PROBE_CHANNELS, PROBE_VALUE = "int8_probe.onnx", 64, 127
"""A pointwise convolution in int8: its file, its number of channels, and all its weights; every scale is 1."""


class OpenVinoSession:
    """An ONNX model, compiled for the processor in the types of its file.

    Raises:
        NotPossible: INT8 on a processor whose integer sums saturate, or a version that is too old for the model.
    """

    runtime = "openvino"
    largest_batch: int | None = None

    def __init__(self, model: Model, precision: str, threads: int | None = None) -> None:
        import openvino

        if precision == "int8" and saturates():
            advice = "choose onnxruntime or another precision, or a processor with VNNI"
            raise NotPossible("OpenVINO cannot run INT8 exactly here", SATURATES, advice)
        self.precision, self.threads, self._model = precision, threads or default_threads(), model
        self._options = {
            **FILE_TYPES,
            "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        try:
            self._compiled = compile_for_cpu(model, self._options)
        except RuntimeError as error:
            problem = f"OpenVINO {openvino.__version__} does not load the {precision} model"
            advice = "install a newer openvino, or choose another precision"
            raise NotPossible(problem, str(error).strip().splitlines()[-1], advice) from error
        self._request = self._compiled.create_infer_request()
        self.takes_pixels = self._compiled.input(0).element_type.to_string() == "u8"

    @property
    def compiled(self) -> Any:
        """The compiled model, for inspection and timing."""
        return self._compiled

    def run(self, images: Images) -> Joints:
        """Return the joints of one batch, a copy."""
        joints: Joints = self._request.infer([images], share_inputs=True)[0]
        return joints

    def describe(self) -> str:
        """Return version, device and threads."""
        import openvino

        return f"openvino {openvino.__version__.split('-')[0]}, CPU, threads: {self.threads_used()}"

    def threads_used(self) -> int:
        """Return the number of threads, which may be lower than the one set."""
        return int(self._compiled.get_property("INFERENCE_NUM_THREADS"))

    def convolution_types(self) -> dict[str, int]:
        """Count the types that convolutions compute in."""
        return layer_types(self._compiled, "Convolution")

    def close(self) -> None:
        """Release the model."""
        self._request = self._compiled = None


def compile_for_cpu(model: Model, options: Mapping[str, Any]) -> Any:
    """Compile a model for the processor."""
    core = openvino_core()
    return core.compile_model(core.read_model(model), "CPU", dict(options))


def layer_types(compiled: Any, *layers: str) -> dict[str, int]:
    """Count the compute types of layers of these kinds in the executed graph.

    The precision hint would prove nothing: OpenVINO was observed to convolve in bf16 with the hint f32.
    """
    infos = [layer.get_rt_info() for layer in compiled.get_runtime_model().get_ordered_ops()]
    kinds = [_text(info["runtimePrecision"]) for info in infos if _text(info["layerType"]) in layers]
    return Counter(TYPE_NAMES.get(kind, kind) for kind in kinds)


@lru_cache(maxsize=None)
def openvino_core() -> Any:
    """Return this process's one ``openvino.Core``, kept until the process ends.

    The CPU plug-in (2026.4.1) gives the thread that loads it an alternate signal stack, and frees that stack when it is
    unloaded. If another thread unloads it, the first thread's next signal, such as Ctrl-C, ends the process by SIGSEGV.
    Keeping the core keeps the plug-in loaded.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    import openvino

    return openvino.Core()


@lru_cache(maxsize=None)
def saturates() -> bool:
    """Return whether OpenVINO adds int8 products wrongly on this processor, by running a probe.

    Without VNNI, x86 multiplies unsigned by signed bytes and adds pairs of products in 16 bits, which saturate
    (VPMADDUBSW; Intel's oneDNN guide, "Nuances of int8 computations", and OpenVINO's page on the "saturation issue").
    The error depends on the images.
    """
    import numpy as np

    compiled = compile_for_cpu(Path(__file__).with_name(PROBE).read_bytes(), FILE_TYPES)
    images = np.full((1, PROBE_CHANNELS, 4, 4), PROBE_VALUE, np.float32)
    return bool(np.any(compiled([images])[0] != PROBE_CHANNELS * PROBE_VALUE**2))


def _text(value: Any) -> str:
    """Return a value of a layer's information as text; its type differs between versions."""
    return str(value.astype(str)) if hasattr(value, "astype") else str(value)
