"""Layer trace: the output of every convolution in two graphs, which shows where an error begins.

Nodes have the names of their modules, and the rewritings for a precision keep the meaning of a convolution's output, so
equal names are equal quantities.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from export.common.errors import BadInput
from export.common.files import UNREADABLE_ARRAYS
from export.common.interface import INPUT
from export.common.plain import finite_or_none
from export.graph.simulation import with_rounding
from export.runtime.onnx_runtime import open_session, session_options
from export.runtime.pose import normalise

Values = dict[str, NDArray[np.float32]]
SCHEMA_VERSION = "1.1"
IMAGES = 4
TRACED = "Conv"
RUNTIME = "ONNX Runtime, rounding simulated"
SUFFIX = ".traced"

EXPECTED = {"fp16": 0.005, "bf16": 0.03, "int8": 0.1}
"""Largest relative error of a layer that rounding explains. Rounding adds up over layers; the demo checkpoint reached
0.0007, 0.006 and 0.026. Random weights reach 0.04 in BF16 (docs/precision.md)."""


@dataclass(frozen=True)
class LayerError:
    """Error of one convolution's output."""

    layer: str
    relative_error: float
    """Root mean square of the difference, relative to that of the reference."""
    largest_error: float
    largest_value: float
    """Value of the reference."""


@dataclass(frozen=True)
class Jump:
    """A rise of the relative error from the previous convolution, in data order, to this one."""

    layer: str
    before: float
    after: float


def trace(reference: Path, candidate: Path, images: NDArray[np.float32]) -> list[LayerError]:
    """Compare every convolution that both files have, in the reference's data order, in ONNX Runtime.

    Every half value of the candidate is rounded to its type: ONNX Runtime has no BF16 convolution, and may not round
    FP16 values.

    Args:
        reference: the FP32 ONNX file.
        candidate: the same model in another precision.
        images: (N, 3, S, S) normalised pixels.

    Raises:
        BadInput: the files have no convolution in common.
    """
    expected = traced_values(with_taps(onnx.load(reference)), images)
    outputs = traced_values(with_rounding(with_taps(onnx.load(candidate))), images)
    common = [name for name in expected if name in outputs]
    if not common:
        do = "use two files of one export"
        raise BadInput("the two graphs have no convolution in common", f"{reference.name}, {candidate.name}", do)
    return [_compare(name, expected[name], outputs[name]) for name in common]


def trace_record(reference: Path, candidate: Path, precision: str, truth: Path) -> dict[str, Any]:
    """Compare two files on a few parity images; return plain data.

    Raises:
        BadInput: the precision cannot be traced, or the export's images are missing.
    """
    require_traceable(precision)
    try:
        with np.load(truth) as arrays:
            images = normalise(arrays["images"][:IMAGES])
    except UNREADABLE_ARRAYS as error:
        raise BadInput(f"cannot read the parity images in {truth}", str(error), "export the model again") from error
    layers = trace(reference, candidate, images)
    departed, jump = first_departure(layers, precision), largest_jump(layers)
    return {
        "schema_version": SCHEMA_VERSION,
        "precision": precision,
        "runtime": RUNTIME,
        "images": IMAGES,
        "expected_relative_error": EXPECTED[precision],
        "first_departure": departed and departed.layer,
        "largest_jump": finite_or_none(asdict(jump)),
        "layers": finite_or_none([asdict(layer) for layer in layers]),
    }


def require_traceable(variant: str) -> None:
    """Check that a variant can be compared with FP32.

    Raises:
        BadInput: the variant is FP32 itself, has the input format uint8, or is unknown.
    """
    if variant not in EXPECTED:
        problem = "a trace compares fp32 with a precision that has the same float32 input"
        raise BadInput(problem, variant or "nothing", f"choose {', '.join(EXPECTED)}")


def first_departure(layers: Sequence[LayerError], precision: str) -> LayerError | None:
    """Return the first layer with a larger error than rounding explains; None if there is none."""
    limit = EXPECTED[precision]
    return next((layer for layer in layers if not layer.relative_error <= limit), None)


def largest_jump(layers: Sequence[LayerError]) -> Jump:
    """Return the largest rise of the relative error from one convolution to the next: its source."""
    errors = [0.0, *(layer.relative_error for layer in layers)]
    jumps = [Jump(layer.layer, before, layer.relative_error) for layer, before in zip(layers, errors, strict=False)]
    return max(jumps, key=lambda jump: math.inf if math.isnan(jump.after) else jump.after - jump.before)


def with_taps(model: onnx.ModelProto) -> onnx.ModelProto:
    """Add every convolution's output to the model's outputs, as float32 and named by its layer; return the model."""
    graph = model.graph
    taps = []
    for node in graph.node:
        if node.op_type == TRACED:
            layer = node.name.removesuffix(f"/{TRACED}")
            taps.append(onnx.helper.make_node("Cast", [node.output[0]], [layer + SUFFIX], to=TensorProto.FLOAT))
            graph.output.append(onnx.helper.make_tensor_value_info(layer + SUFFIX, TensorProto.FLOAT, None))
    graph.node.extend(taps)
    return model


def traced_values(model: onnx.ModelProto, images: NDArray[Any]) -> Values:
    """Run a model with taps on the CPU without optimization, which would fuse the traced layers."""
    session = open_session(model.SerializeToString(), session_options(optimise=False))
    names = [output.name for output in session.get_outputs() if output.name.endswith(SUFFIX)]
    values = session.run(names, {INPUT: images})
    return {name.removesuffix(SUFFIX): value.astype(np.float32) for name, value in zip(names, values, strict=True)}


def _compare(layer: str, expected: NDArray[np.float32], output: NDArray[np.float32]) -> LayerError:
    difference = output.astype(np.float64) - expected
    size = float(np.sqrt(np.square(expected, dtype=np.float64).mean()))
    return LayerError(
        layer=layer,
        relative_error=float(np.sqrt((difference**2).mean())) / size if size else float(np.abs(difference).max()),
        largest_error=float(np.abs(difference).max()),
        largest_value=float(np.abs(expected).max()),
    )
