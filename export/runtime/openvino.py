"""Sessions of OpenVINO on the processor, with the precision that it computes in pinned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import NotPossible
from .session import Images, Joints, Model, usable_cores

FILE_TYPES = {"INFERENCE_PRECISION_HINT": "f32"}
"""Makes OpenVINO's CPU plug-in keep to the types of the file: BF16 where the file has BF16 and the processor can.

Left alone it would take BF16 for FP32 and FP16 files as well. Told ``bf16`` it also rounds those convolutions of a BF16
file that its plan keeps in FP32 (seen with 2026.4.1).
"""
TYPE_NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "uint8"}
"""OpenVINO's names of types → NumPy's."""

SATURATES = "this processor adds pairs of int8 products up in 16 bits, which saturate (no VNNI)"
PROBE, PROBE_CHANNELS, PROBE_VALUE = "int8_probe.onnx", 64, 127
"""A pointwise convolution of this many channels, through int8 with every scale 1 and all weights this value."""


class OpenVinoSession:
    """An ONNX model, compiled for the processor; it keeps to the file's types (``FILE_TYPES``).

    Raises:
        NotPossible: INT8 on a processor whose integer sums saturate, or a version that is too old for the model.
    """

    runtime = "openvino"
    largest_batch: int | None = None

    def __init__(self, model: Model, precision: str, threads: int | None = None) -> None:
        import openvino

        if precision == "int8" and saturates():
            do = "choose onnxruntime or another precision, or a processor with VNNI"
            raise NotPossible("OpenVINO cannot run INT8 exactly here", SATURATES, do)
        self.precision, self.threads, self._model = precision, threads or usable_cores(), model
        self._options = {
            **FILE_TYPES,
            "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        try:
            self._compiled = compile_for_cpu(model, self._options)
        except RuntimeError as error:
            seen, do = str(error).strip().splitlines()[-1], "install a newer openvino, or choose another precision"
            what = f"OpenVINO {openvino.__version__} does not load the {precision} model"
            raise NotPossible(what, seen, do) from error
        self._request = self._compiled.create_infer_request()
        self.takes_pixels = self._compiled.input(0).element_type.to_string() == "u8"

    @property
    def compiled(self) -> Any:
        """The compiled model, for other tools that look at it or time it."""
        return self._compiled

    def run(self, images: Images) -> Joints:
        """Return the joints of one batch, copied out."""
        joints: Joints = self._request.infer([images], share_inputs=True)[0]
        return joints

    def describe(self) -> str:
        """Return version, device and threads."""
        import openvino

        return f"openvino {openvino.__version__.split('-')[0]}, CPU, threads: {self.threads_used()}"

    def threads_used(self) -> int:
        """Return the number of threads; it may be lower than the one that was set."""
        return int(self._compiled.get_property("INFERENCE_NUM_THREADS"))

    def convolution_types(self) -> dict[str, int]:
        """Count the types that convolutions compute in."""
        return layer_types(self._compiled, "Convolution")

    def close(self) -> None:
        """Release the model."""
        self._request = self._compiled = None


def compile_for_cpu(model: Model, options: Mapping[str, Any]) -> Any:
    """Return the model compiled for the processor by this process's one core."""
    core = openvino_core()
    return core.compile_model(core.read_model(model), "CPU", dict(options))


def layer_types(compiled: Any, *layers: str) -> dict[str, int]:
    """Count the types that layers of these kinds compute in, in the graph that is executed.

    The hint is not read back instead: with f32 asked for, OpenVINO was seen to convolve in bf16 all the same.
    """
    infos = [layer.get_rt_info() for layer in compiled.get_runtime_model().get_ordered_ops()]
    kinds = [_text(info["runtimePrecision"]) for info in infos if _text(info["layerType"]) in layers]
    return Counter(TYPE_NAMES.get(kind, kind) for kind in kinds)


@lru_cache(maxsize=None)
def openvino_core() -> Any:
    """Return this process's one ``openvino.Core``, kept until the process ends.

    Its CPU plug-in (2026.4.1) gives the thread that loads it another stack for signals, and takes that away when it
    goes. If it goes by another thread, the first one keeps an address where nothing lies any more, and the next signal
    that it handles, such as Ctrl-C, ends the process by SIGSEGV. A core that is kept keeps the plug-in.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    import openvino

    return openvino.Core()


@lru_cache(maxsize=None)
def saturates() -> bool:
    """Return whether OpenVINO adds up int8 products wrongly on this processor: tried, not looked up.

    Without VNNI, x86 multiplies unsigned by signed bytes and adds pairs of products into 16 bits, which saturate
    (VPMADDUBSW; Intel's oneDNN guide, "Nuances of int8 computations", and OpenVINO's own page on the "saturation
    issue"). The graph is right, and what comes out is not, in an amount that depends on the images.
    """
    import numpy as np

    compiled = compile_for_cpu(Path(__file__).with_name(PROBE).read_bytes(), FILE_TYPES)
    images = np.full((1, PROBE_CHANNELS, 4, 4), PROBE_VALUE, np.float32)
    return bool(np.any(compiled([images])[0] != PROBE_CHANNELS * PROBE_VALUE**2))


def _text(value: Any) -> str:
    """Return a value of a layer's information as text; versions differ in its type."""
    return str(value.astype(str)) if hasattr(value, "astype") else str(value)
