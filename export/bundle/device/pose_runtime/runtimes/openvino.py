"""OpenVINO on the processor, with the precision that it computes in pinned."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pose_runtime.bundle import Bundle
from pose_runtime.errors import NotPossible
from pose_runtime.runtimes import usable_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "int8"}


class OpenVINO:
    """An ONNX file, compiled for the processor.

    It keeps to the file's types: BF16 where the file has BF16 and the processor can. Left alone, OpenVINO would take
    BF16 for FP32 files as well; told "bf16" it would round what a BF16 file keeps in FP32.

    Raises:
        NotPossible: INT8 on a processor whose integer sums saturate, or a version that is too old for the file.
    """

    runtime = "openvino"
    largest_batch = None

    def __init__(self, bundle: Bundle, precision: str, threads: int | None = None) -> None:
        entry = bundle.onnx(precision)
        self.precision, self.artifact, self.artifact_sha256 = precision, entry["path"], entry["sha256"]
        core = openvino_core()
        if precision == "int8" and saturates(core, bundle):
            what = "this processor adds pairs of int8 products up in 16 bits, which saturate (no VNNI)"
            raise NotPossible("OpenVINO cannot run INT8 exactly here", what, "choose onnxruntime, or another precision")
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads or usable_cores(),
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        content = bundle.content(self.artifact)
        try:
            self._compiled = core.compile_model(core.read_model(content), "CPU", settings)
        except RuntimeError as error:
            import openvino

            seen, do = str(error).strip().splitlines()[-1], "install a newer openvino, or choose another precision"
            raise NotPossible(f"OpenVINO {openvino.__version__} does not load {self.artifact}", seen, do) from error
        self._request = self._compiled.create_infer_request()

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Network``."""
        joints: NDArray[np.float32] = self._request.infer([images], share_inputs=True)[0]
        return joints

    def describe(self) -> str:
        """See ``Network``."""
        import openvino

        return f"openvino {openvino.__version__.split('-')[0]}, CPU, threads: {self.threads()}"

    def threads(self) -> int | None:
        """See ``Network``: it may take fewer than it was told."""
        return int(self._compiled.get_property("INFERENCE_NUM_THREADS"))

    def computes_in(self) -> str:
        """See ``Network``: from the graph that is executed, since the hint was seen not to be kept."""
        layers = [layer.get_rt_info() for layer in self._compiled.get_runtime_model().get_ordered_ops()]
        kinds = {_text(info["runtimePrecision"]) for info in layers if _text(info["layerType"]) == "Convolution"}
        return " and ".join(sorted({NAMES.get(kind, kind) for kind in kinds}))

    def close(self) -> None:
        """See ``Network``."""
        self._request = self._compiled = None


@lru_cache(maxsize=None)
def openvino_core() -> Any:
    """This process's one ``openvino.Core``, kept until it ends.

    Its CPU plug-in (2026.4.1) gives the thread that loads it another stack for signals. Were it ended by another
    thread, the next signal that the first one handles, such as Ctrl-C, would end the process by SIGSEGV.
    """
    import openvino

    return openvino.Core()


def saturates(core: Any, bundle: Bundle) -> bool:
    """Whether a convolution of the largest int8 values comes out wrong: tried, with the bundle's probe."""
    probe = bundle.manifest["int8_probe"]
    model = core.read_model(bundle.content(probe["path"]))
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    given = np.full(probe["shape"], probe["input"], np.float32)
    return bool(np.any(compiled([given])[0] != probe["output"]))


def _text(value: Any) -> str:
    """Versions differ in what they hand out."""
    return str(value.astype(str)) if hasattr(value, "astype") else str(value)
