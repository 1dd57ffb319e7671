"""Where a precision leaves the reference: every convolution's output in two graphs, side by side.

Nodes are called after their modules, and rewritings for a precision keep what a convolution's output means, so
that equal names are equal quantities.
"""

import math
from collections.abc import Callable, Mapping, Sequence
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
from export.parity.sessions import in_words
from export.runtime.onnx_runtime import open_session, session_options
from export.runtime.openvino import FILE_TYPES, compile_for_cpu, layer_types

Values = dict[str, NDArray[np.float32]]
Run = Callable[[bytes, NDArray[Any]], tuple[Values, str]]
"""(a model, its input) → every output by name; and what computed them, in which types."""

SCHEMA_VERSION = "1.1"
IMAGES = 4
TRACED = "Conv"
SUFFIX = ".traced"

EXPECTED = {"fp16": 0.005, "bf16": 0.03, "int8": 0.1}
"""Relative error at which a layer has departed. Rounding adds up over layers; the demo checkpoint's reached 0.0007,
0.006 and 0.026. Weights that were never trained go farther: their BF16 ends at 0.04 (docs/precision.md)."""


@dataclass(frozen=True)
class LayerDrift:
    """One convolution's output in both graphs."""

    layer: str
    relative_error: float
    """Root mean square of the difference, by that of the reference."""
    largest_error: float
    largest_value: float
    """Of the reference."""


@dataclass(frozen=True)
class Jump:
    """A convolution, its relative error, and that of the convolution before it in the order of the data."""

    layer: str
    before: float
    after: float


def trace(reference: Path, candidate: Path, images: NDArray[np.float32], run: Run) -> tuple[list[LayerDrift], str]:
    """Compare every convolution that both files have, in the order of the reference's data.

    Args:
        reference: the FP32 ONNX file, which ONNX Runtime runs.
        candidate: another precision of it.
        images: (N, 3, S, S) normalised.
        run: what runs the candidate.

    Returns:
        The layers, and what ran the candidate.

    Raises:
        BadInput: the files have no convolution in common.
    """
    expected, _ = run_onnxruntime(with_taps(reference), images)
    seen, runtime = run(with_taps(candidate), images)
    common = [name for name in expected if name in seen]
    if not common:
        do = "take two files of one export"
        raise BadInput("the two graphs have no convolution in common", f"{reference.name}, {candidate.name}", do)
    return [_compare(name, expected[name], seen[name]) for name in common], runtime


def trace_record(reference: Path, candidate: Path, precision: str, truth: Path) -> dict[str, Any]:
    """The comparison as plain data, on a few of the images that parity was judged on.

    Raises:
        BadInput: a precision that cannot be traced, or the export's truth is gone.
    """
    from export.model.pose import normalise

    require_traceable(precision)
    try:
        with np.load(truth) as judged_on:
            images = normalise(judged_on["images"][:IMAGES])
    except UNREADABLE_ARRAYS as error:
        raise BadInput(f"cannot read the images of parity in {truth}", str(error), "export the model again") from error
    drifts, runtime = trace(reference, candidate, images, TRACED_BY[precision])
    departed, jump = first_departure(drifts, precision), largest_jump(drifts)
    return {
        "schema_version": SCHEMA_VERSION,
        "precision": precision,
        "runtime": runtime,
        "images": IMAGES,
        "expected_relative_error": EXPECTED[precision],
        "first_departure": departed and departed.layer,
        "largest_jump": finite_or_none(asdict(jump)),
        "layers": finite_or_none([asdict(drift) for drift in drifts]),
    }


def require_traceable(variant: str) -> None:
    """See that a variant can be compared with FP32 input for input.

    Raises:
        BadInput: it takes pixels, is FP32 itself, or is unknown.
    """
    if variant == "fp32":
        raise BadInput("fp32 is what the others are traced beside", variant, f"choose of {', '.join(EXPECTED)}")
    if variant not in EXPECTED:
        raise BadInput(
            "only graphs that take normalised images are traced", variant, f"choose of {', '.join(EXPECTED)}"
        )


def first_departure(drifts: Sequence[LayerDrift], precision: str) -> LayerDrift | None:
    """The first layer that is farther from the reference than rounding explains; None if there is none."""
    limit = EXPECTED[precision]
    return next((drift for drift in drifts if not drift.relative_error <= limit), None)


def largest_jump(drifts: Sequence[LayerDrift]) -> Jump:
    """Where the relative error rises most from one convolution to the next: where it comes from, not where it ends."""
    before = [0.0, *(drift.relative_error for drift in drifts)]
    jumps = [Jump(drift.layer, came, drift.relative_error) for drift, came in zip(drifts, before, strict=False)]
    return max(jumps, key=lambda jump: math.inf if math.isnan(jump.after) else jump.after - jump.before)


def with_taps(path: Path) -> bytes:
    """The model with every convolution's output as a float32 output of the graph, named by its layer."""
    model = onnx.load(path)
    graph = model.graph
    taps = []
    for node in graph.node:
        if node.op_type == TRACED:
            layer = node.name.removesuffix(f"/{TRACED}")
            taps.append(onnx.helper.make_node("Cast", [node.output[0]], [layer + SUFFIX], to=TensorProto.FLOAT))
            graph.output.append(onnx.helper.make_tensor_value_info(layer + SUFFIX, TensorProto.FLOAT, None))
    graph.node.extend(taps)
    return bytes(model.SerializeToString())


def run_onnxruntime(model: bytes, images: NDArray[Any]) -> tuple[Values, str]:
    """By ONNX Runtime on the CPU, as the graph is written: without optimisation, which would fuse what is traced."""
    session = open_session(model, session_options(optimise=False))
    names = [output.name for output in session.get_outputs() if output.name.endswith(SUFFIX)]
    return _named(dict(zip(names, session.run(names, {INPUT: images}), strict=True))), "ONNX Runtime"


def run_rounded(model: bytes, images: NDArray[Any]) -> tuple[Values, str]:
    """By ONNX Runtime with every half value rounded to its type, which it would not do by itself."""
    values, runtime = run_onnxruntime(with_rounding(onnx.load_from_string(model)).SerializeToString(), images)
    return values, f"{runtime}, rounding simulated"


def run_bf16(model: bytes, images: NDArray[Any]) -> tuple[Values, str]:
    """By OpenVINO on the CPU where that really convolves in bfloat16, and else with its rounding simulated."""
    compiled = compile_for_cpu(model, FILE_TYPES)
    types = layer_types(compiled, "Convolution")
    if types.keys() != {"bfloat16"}:
        values, runtime = run_rounded(model, images)
        return values, f"{runtime} (OpenVINO here: {in_words(types)})"
    request = compiled.create_infer_request()
    request.infer({INPUT: images})
    named = ((name, port) for port in compiled.outputs for name in port.names if name.endswith(SUFFIX))
    values = _named({name: request.get_tensor(port).data.copy() for name, port in named})
    return values, f"OpenVINO, {in_words(types)}"


TRACED_BY: dict[str, Run] = {"fp16": run_rounded, "bf16": run_bf16, "int8": run_rounded}
"""Precision → what runs its file. ONNX Runtime alone has no BF16 convolution, and rounds no FP16 value."""


def _named(values: Mapping[str, NDArray[Any]]) -> Values:
    return {name.removesuffix(SUFFIX): value.astype(np.float32) for name, value in values.items()}


def _compare(layer: str, expected: NDArray[np.float32], seen: NDArray[np.float32]) -> LayerDrift:
    difference = seen.astype(np.float64) - expected
    size = float(np.sqrt(np.square(expected, dtype=np.float64).mean()))
    return LayerDrift(
        layer=layer,
        relative_error=float(np.sqrt((difference**2).mean())) / size if size else float(np.abs(difference).max()),
        largest_error=float(np.abs(difference).max()),
        largest_value=float(np.abs(expected).max()),
    )
