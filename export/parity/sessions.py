"""Sessions in which parity judges a file, and which read back what they computed in.

A runtime may compute in another type than the file's without saying so. So a half file is judged twice: by a runtime as
its users have it, and by its own types, simulated.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from export.graph.simulation import with_rounding
from export.runtime.onnx_runtime import OnnxRuntimeSession, why_not
from export.runtime.openvino import SATURATES, OpenVinoSession, layer_types, saturates
from export.runtime.session import Images, Joints, Session


class SimulatedSession(OnnxRuntimeSession):
    """ONNX Runtime in FP32, with every half value rounded to its type: see ``with_rounding``."""

    def __init__(self, path: Path, precision: str, threads: int | None = None) -> None:
        model = with_rounding(onnx.load(path)).SerializeToString()
        super().__init__(model, "fp32", threads, optimise=False)  # casts must stay
        self.precision = precision


class ParityRuntime(NamedTuple):
    """A runtime, or the simulation, as a judge of files."""

    name: str
    open: Callable[[Path, str], Session]
    """(ONNX file, precision) → session."""


ONNX_RUNTIME = ParityRuntime("ONNX Runtime", OnnxRuntimeSession)
OPENVINO = ParityRuntime("OpenVINO", OpenVinoSession)
SIMULATION = ParityRuntime("rounding, simulated", SimulatedSession)

PARITY_RUNTIMES: dict[str, tuple[ParityRuntime, ...]] = {
    "fp32": (ONNX_RUNTIME,),
    "fp16": (ONNX_RUNTIME, SIMULATION),
    "bf16": (ONNX_RUNTIME, OPENVINO, SIMULATION),
    "int8": (ONNX_RUNTIME, OPENVINO, SIMULATION),
}
"""Precision → what judges its files, where it can. OpenVINO convolves in integers where the file says so, ONNX Runtime
rounds and convolves in FP32; what is FP16 around, both do in FP32, and only the simulation rounds."""


def parity_runtimes(precision: str) -> tuple[tuple[ParityRuntime, ...], dict[str, str]]:
    """Return what judges files of this precision on this machine, and by name what cannot, and why.

    A processor whose integer sums saturate says nothing of a file: it is judged by what computes as the file says.
    """
    cannot = {}
    if reason := why_not(precision):
        cannot[ONNX_RUNTIME.name] = reason
    if precision == "int8" and saturates():
        cannot[OPENVINO.name] = SATURATES
    return tuple(runtime for runtime in PARITY_RUNTIMES[precision] if runtime.name not in cannot), cannot


def run_batches(session: Session, images: Images, batch: int) -> Joints:
    """Return the joints of all images, run ``batch`` at a time."""
    return np.concatenate([session.run(images[start : start + batch]) for start in range(0, len(images), batch)])


def computation(session: Session) -> str:
    """Return runtime, version and device, and the types that the session computes in."""
    if isinstance(session, SimulatedSession):
        return f"{session.describe()}; computes in float32 and rounds every value to the file's type"
    text = f"{session.describe()}; {in_words(session.convolution_types())}"
    if isinstance(session, OpenVinoSession):
        text += f", decode in {' and '.join(sorted(layer_types(session.compiled, 'Softmax', 'Reduce')))}"
    return text


def in_words(convolutions: Mapping[str, int]) -> str:
    """Return ``21 convolutions in float32, 30 in uint8``: as run, where a runtime may have made one of a norm."""
    (first, count), *others = sorted(convolutions.items())
    return ", ".join([f"{count} convolutions in {first}", *(f"{count} in {kind}" for kind, count in others)])
