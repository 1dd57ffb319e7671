"""Sessions for parity, which report the types that they compute in.

A runtime may silently compute in other types than the file's. So a half-precision file runs twice: in the users'
runtime, and with its own types simulated.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from export.common.extras import missing
from export.common.progress import Progress
from export.graph.simulation import with_rounding
from export.runtime.onnx_runtime import OnnxRuntimeSession, why_not
from export.runtime.openvino import SATURATES, OpenVinoSession, layer_types, saturates
from export.runtime.registry import installed
from export.runtime.session import Images, Joints, Session


class SimulatedSession(OnnxRuntimeSession):
    """A session of ONNX Runtime in FP32 with every half value rounded to its type (``with_rounding``)."""

    def __init__(self, path: Path, precision: str, threads: int | None = None) -> None:
        model = with_rounding(onnx.load(path)).SerializeToString()
        super().__init__(model, "fp32", threads, optimise=False)  # casts must stay
        self.precision = precision


class ParityRuntime(NamedTuple):
    """A runtime, or the simulation, that parity runs files in."""

    name: str
    open: Callable[[Path, str], Session]
    """(ONNX file, precision) → session."""


PARITY_BATCHES = (1, 5)
"""Images at a time; runtimes may choose other kernels for each. The simulation runs them one by one."""

DECODE_LAYERS = ("Softmax", "MatMul", "FullyConnected")
"""OpenVINO's names of the decode's layers."""

ONNX_RUNTIME = ParityRuntime("ONNX Runtime", OnnxRuntimeSession)
OPENVINO = ParityRuntime("OpenVINO", OpenVinoSession)
SIMULATION = ParityRuntime("rounding, simulated", SimulatedSession)

PARITY_RUNTIMES: dict[str, tuple[ParityRuntime, ...]] = {
    "fp32": (ONNX_RUNTIME,),
    "fp16": (ONNX_RUNTIME, SIMULATION),
    "bf16": (ONNX_RUNTIME, OPENVINO, SIMULATION),
    "int8": (ONNX_RUNTIME, OPENVINO, SIMULATION),
}
"""Precision → runtimes for its files, if the machine supports them. OpenVINO computes INT8 convolutions in integers;
ONNX Runtime rounds and computes them in FP32. On x86-64 both compute FP16 in FP32, and only the simulation rounds
it. On aarch64 ONNX Runtime computes it in FP16."""


def parity_runtimes(precision: str) -> tuple[tuple[ParityRuntime, ...], dict[str, str]]:
    """Return the runtimes for this precision on this machine, and the skipped ones by name with a reason.

    OpenVINO is skipped where it is not installed, and for INT8 on a processor with saturating integer sums, since there
    it does not compute the file's function.
    """
    skipped = {}
    if reason := why_not(precision):
        skipped[ONNX_RUNTIME.name] = reason
    if OPENVINO in PARITY_RUNTIMES[precision] and not installed("openvino"):
        skipped[OPENVINO.name] = missing("openvino")
    elif precision == "int8" and saturates():
        skipped[OPENVINO.name] = SATURATES
    return tuple(runtime for runtime in PARITY_RUNTIMES[precision] if runtime.name not in skipped), skipped


def run_batches(session: Session, images: Images, batch: int) -> Joints:
    """Return the joints of all images, run ``batch`` at a time."""
    return np.concatenate([session.run(images[start : start + batch]) for start in range(0, len(images), batch)])


def run_everywhere(
    path: Path, precision: str, images: Images, progress: Progress
) -> Iterator[tuple[ParityRuntime, Session, dict[int, Joints]]]:
    """Yield each runtime for this precision with its session, and the joints of all images by batch size."""
    runtimes, _ = parity_runtimes(precision)
    for index, runtime in enumerate(runtimes):
        session = runtime.open(path, precision)
        joints = {}
        for batch in PARITY_BATCHES[:1] if runtime is SIMULATION else PARITY_BATCHES:
            progress(f"{runtime.name}, batch {batch}", index / len(runtimes))
            joints[batch] = run_batches(session, images, batch)
        yield runtime, session, joints


def computation(session: Session) -> str:
    """Describe runtime, version, device, and the types that the session computes in."""
    if isinstance(session, SimulatedSession):
        return f"{session.describe()}; computes in float32 and rounds every value to the file's type"
    text = f"{session.describe()}; {in_words(session.convolution_types())}"
    if isinstance(session, OpenVinoSession):
        text += f", decode in {' and '.join(sorted(layer_types(session.compiled, *DECODE_LAYERS)))}"
    return text


def in_words(convolutions: Mapping[str, int]) -> str:
    """Format counts by type as ``21 convolutions in float32, 30 in uint8``; a runtime may turn a norm into one."""
    counts = [f"{count} in {kind}" for kind, count in sorted(convolutions.items())]
    return ", ".join(counts).replace(" in ", " convolutions in ", 1)
