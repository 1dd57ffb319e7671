"""Where a precision leaves the reference: every convolution's output in two graphs, side by side.

Nodes are called after their modules, and rewritings for a precision keep what a convolution's output means, so
that equal names are equal quantities.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from export.errors import BadInput
from export.interface import INPUT
from export.plain import finite_or_none
from export.simulation import with_rounding

Values = dict[str, NDArray[np.float32]]
Run = Callable[[bytes, NDArray[Any]], Values]
"""(a model, its input) → every output by name."""

SCHEMA_VERSION = "1.0"
IMAGES = 4
TRACED = "Conv"
SUFFIX = ".traced"

EXPECTED = {"fp32": 1e-4, "fp16": 0.005, "bf16": 0.03, "int8": 0.1}
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


def trace(reference: Path, candidate: Path, images: NDArray[np.float32], run: tuple[Run, Run]) -> list[LayerDrift]:
    """Compare every convolution that both files have, in the order of the reference's data.

    Args:
        reference: the FP32 ONNX file.
        candidate: another precision of it.
        images: (N, 3, S, S) normalised.
        run: what runs the reference, and what runs the candidate.

    Raises:
        BadInput: the files have no convolution in common.
    """
    expected = run[0](with_taps(reference), images)
    seen = run[1](with_taps(candidate), images)
    common = [name for name in expected if name in seen]
    if not common:
        do = "take two files of one export"
        raise BadInput("the two graphs have no convolution in common", f"{reference.name}, {candidate.name}", do)
    return [_compare(name, expected[name], seen[name]) for name in common]


def trace_record(reference: Path, candidate: Path, precision: str, truth: Path) -> dict[str, Any]:
    """The comparison as plain data, on a few of the images that parity was judged on.

    Raises:
        BadInput: a precision that cannot be traced, or the export's truth is gone.
    """
    from export.pose import normalise

    require_traceable(precision)
    try:
        with np.load(truth) as judged_on:
            images = normalise(judged_on["images"][:IMAGES])
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"cannot read the images of parity in {truth}", str(error), "export the model again") from error
    runtime, run = TRACED_BY[precision]
    drifts = trace(reference, candidate, images, (run_onnxruntime, run))
    departed = first_departure(drifts, precision)
    return {
        "schema_version": SCHEMA_VERSION,
        "precision": precision,
        "runtime": runtime,
        "images": IMAGES,
        "expected_relative_error": EXPECTED[precision],
        "first_departure": departed and departed.layer,
        "layers": finite_or_none([asdict(drift) for drift in drifts]),
    }


def require_traceable(edition: str) -> None:
    """See that an edition can be compared with FP32 input for input.

    Raises:
        BadInput: it takes pixels, or is unknown.
    """
    if edition not in EXPECTED:
        raise BadInput(
            "only graphs that take normalised images are traced", edition, f"choose of {', '.join(EXPECTED)}"
        )


def first_departure(drifts: Sequence[LayerDrift], precision: str) -> LayerDrift | None:
    """The first layer that is farther from the reference than rounding explains; None if there is none."""
    limit = EXPECTED[precision]
    return next((drift for drift in drifts if not drift.relative_error <= limit), None)


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


def run_onnxruntime(model: bytes, images: NDArray[Any]) -> Values:
    """By ONNX Runtime on the CPU, as the graph is written: without optimisation, which would fuse what is traced."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs() if output.name.endswith(SUFFIX)]
    return _named(dict(zip(names, session.run(names, {INPUT: images}), strict=True)))


def run_rounded(model: bytes, images: NDArray[Any]) -> Values:
    """By ONNX Runtime with every half value rounded to its type, which it would not do by itself."""
    return run_onnxruntime(with_rounding(onnx.load_from_string(model)).SerializeToString(), images)


def run_openvino(model: bytes, images: NDArray[Any]) -> Values:
    """By OpenVINO on the CPU, in the graph's own types: for bfloat16, of which ONNX Runtime has no convolution."""
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    request = compiled.create_infer_request()
    request.infer({INPUT: images})
    named = ((name, port) for port in compiled.outputs for name in port.names if name.endswith(SUFFIX))
    return _named({name: request.get_tensor(port).data.copy() for name, port in named})


TRACED_BY: dict[str, tuple[str, Run]] = {
    "fp32": ("ONNX Runtime", run_onnxruntime),
    "fp16": ("ONNX Runtime, rounding simulated", run_rounded),
    "bf16": ("OpenVINO", run_openvino),
    "int8": ("ONNX Runtime", run_onnxruntime),
}
"""Precision → what runs its file, in words and in deed."""


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
