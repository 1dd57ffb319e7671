"""What runs an exported file where it is judged: runtimes on the CPU, which read back what they computed in.

A runtime may compute in another type than the file's, without a word. So a half file is judged twice: by
a runtime as its users have it, and by its own types, simulated.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from export.interface import INPUT, NO_BF16, OUTPUT, WRONG_INT8, int8_is_wrong
from export.openvino_core import openvino_core
from export.saturation import SATURATES, openvino_saturates
from export.simulation import with_rounding

Images = NDArray[np.float32] | NDArray[np.uint8]
"""(N, 3, S, S), normalised; in a pixel edition (N, S, S, 3)."""
Joints = NDArray[np.float32]
"""(N, joints, 3) in bins."""
NUMPY = {"float": "float32", "f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "uint8"}
"""What runtimes call a type, and what NumPy does."""


FILE_TYPES = {"INFERENCE_PRECISION_HINT": "f32"}
"""Makes OpenVINO's CPU plug-in keep to the types of the file: BF16 where the file has BF16 and the processor can.

Left alone it would take BF16 for FP32 and FP16 files as well. Told ``bf16`` it also rounds those convolutions of a BF16
file that its plan keeps in FP32 (seen with 2026.4.1).
"""


class Runner(Protocol):
    """A file that is loaded and can be run."""

    name: str

    def run(self, images: Images) -> Joints:
        """All images as one batch."""

    def describe(self) -> str:
        """Runtime, version, device, and the types that it computed in."""


class _Session:
    """A session of ONNX Runtime on the CPU."""

    _session: Any

    def run(self, images: Images) -> Joints:
        """See ``Runner``."""
        joints: Joints = self._session.run([OUTPUT], {INPUT: images})[0]
        return joints


class OnnxRuntime(_Session):
    """ONNX Runtime as it comes."""

    name = "ONNX Runtime"

    def __init__(self, path: Path) -> None:
        import onnxruntime

        with tempfile.TemporaryDirectory() as folder:
            options = _options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            (image,) = self._session.get_inputs()
            self.run(np.zeros((1, *image.shape[1:]), np.uint8 if image.type == "tensor(uint8)" else np.float32))
            events = json.loads(Path(self._session.end_profiling()).read_text())
        kernels = [event["args"] for event in events if event["name"].endswith("_kernel_time")]
        convolutions = [kernel for kernel in kernels if kernel["op_name"].endswith("Conv")]
        self._types = Counter(kind for conv in convolutions for output in conv["output_type_shape"] for kind in output)

    def describe(self) -> str:
        """See ``Runner``."""
        return f"{_version()}, CPU; {in_words(self._types)}"


class Rounded(_Session):
    """ONNX Runtime in FP32, with every half value rounded to its type: see ``with_rounding``."""

    name = "rounding, simulated"

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = _options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # casts must stay
        model = with_rounding(onnx.load(path)).SerializeToString()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def describe(self) -> str:
        """See ``Runner``."""
        return f"{_version()}, CPU; computes in float32 and rounds every value to the file's type"


class OpenVino:
    """OpenVINO, told to compute in the file's types (``FILE_TYPES``)."""

    name = "OpenVINO"

    def __init__(self, path: Path, threads: int | None = None) -> None:
        settings = FILE_TYPES | ({"INFERENCE_NUM_THREADS": threads} if threads else {})
        self._model = openvino_core().compile_model(path, "CPU", settings)

    def run(self, images: Images) -> Joints:
        """See ``Runner``."""
        joints: Joints = self._model({INPUT: images})[OUTPUT].copy()
        return joints

    def describe(self) -> str:
        """See ``Runner``."""
        import openvino

        version = openvino.get_version().split("-")[0]
        decode = " and ".join(sorted(layer_types(self._model, "Softmax", "Reduce")))
        return f"openvino {version}, CPU; {in_words(layer_types(self._model, 'Convolution'))}, decode in {decode}"


RUNNERS: dict[str, tuple[type[OnnxRuntime | Rounded | OpenVino], ...]] = {
    "fp32": (OnnxRuntime,),
    "fp16": (OnnxRuntime, Rounded),
    "bf16": (OpenVino, Rounded),
    "int8": (OnnxRuntime, OpenVino, Rounded),
}
"""What judges the files of a precision. ONNX Runtime has no BF16 convolution on the CPU; OpenVINO convolves
in integers where the file says so, ONNX Runtime rounds and convolves in FP32; what is FP16 around, both do in FP32, and
only the simulation rounds."""


def judges(precision: str) -> tuple[tuple[Callable[[Path], Runner], ...], dict[str, str]]:
    """What judges this precision's files on this machine, and by name what cannot, and why.

    A processor whose integer sums saturate says nothing of a file: it is judged by what computes as the file says.
    """
    cannot = {OnnxRuntime.name: NO_BF16} if precision == "bf16" else {}
    if precision == "int8" and openvino_saturates():
        cannot[OpenVino.name] = SATURATES
    return tuple(runner for runner in RUNNERS[precision] if runner.name not in cannot), cannot


def run_batches(runner: Runner, images: Images, batch: int) -> Joints:
    """All images, ``batch`` at a time."""
    return np.concatenate([runner.run(images[start : start + batch]) for start in range(0, len(images), batch)])


def layer_types(compiled: Any, *layers: str) -> Counter[str]:
    """How many layers of these kinds OpenVINO computes in which type, in NumPy's words.

    Not the hint read back: with f32 asked for, it was seen to convolve in bf16 all the same.
    """
    infos = [layer.get_rt_info() for layer in compiled.get_runtime_model().get_ordered_ops()]
    chosen = (info for info in infos if info["layerType"].astype(str) in layers)
    return Counter(NUMPY.get(kind, kind) for kind in (info["runtimePrecision"].astype(str) for info in chosen))


def in_words(convolutions: Counter[str]) -> str:
    """``21 convolutions in float32, 30 in uint8``: as run, where a runtime may have made one of a norm."""
    (first, count), *others = sorted((NUMPY.get(kind, kind), count) for kind, count in convolutions.items())
    return ", ".join([f"{count} convolutions in {first}", *(f"{count} in {kind}" for kind, count in others)])


def _options() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return options


def _version() -> str:
    import onnxruntime

    version = str(onnxruntime.__version__)
    return f"onnxruntime {version}{f' ({WRONG_INT8})' if int8_is_wrong(version) else ''}"
