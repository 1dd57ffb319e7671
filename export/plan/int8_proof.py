"""Proof from the file alone that an INT8 graph is the proven FP16 graph with its plan, and nothing else."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.common.errors import CheckFailed
from export.graph.onnx_record import Int8Proof
from export.plan.placement import PlannedConv
from export.plan.precision_plan import PrecisionPlan

NODE_SUFFIX = "/Conv"
"""End of a convolution's node name, after its module."""
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
COMPARED = "bit for bit: the FP16 graph, proven before by its types and weights, with the plan's quantized convolutions"
DEFECT = "this is a defect of the exporter; report it"

Arrays = Mapping[str, NDArray[Any]]
Nodes = Mapping[str, onnx.NodeProto]


def prove_int8(model: onnx.ModelProto, half: onnx.ModelProto, plan: PrecisionPlan) -> Int8Proof:
    """Check that ``model`` is ``half`` with the plan's convolutions quantized, bit for bit.

    Every planned convolution reads its input through one scale of the plan, and weights with one scale per output
    channel. Multiplied out and rounded to FP16, these are the weights of ``half``. Every other node, constant, input,
    output and metadata entry is that of ``half``.

    Returns:
        The comparison, and the counts of convolutions.

    Raises:
        CheckFailed: there is a difference; the message names the first node or constant.
    """
    _require(_frame(model) == _frame(half), "its interface, opset or metadata are not the FP16 graph's", "see the file")
    arrays, half_arrays = _arrays(model), _arrays(half)
    producers = {name: node for node in model.graph.node for name in node.output}
    half_nodes = {node.name: node for node in half.graph.node}
    planned = {conv.name + NODE_SUFFIX: conv for conv in plan.quantized}
    nodes = []
    for node in model.graph.node:
        if node.op_type in (QUANTIZE, DEQUANTIZE):
            continue
        if node.name in planned and node.name in half_nodes:
            weights = half_nodes[node.name].input[1]
            source = _prove_conv(node, planned[node.name], half_arrays[weights], producers, arrays)
            node = onnx.NodeProto.FromString(node.SerializeToString())
            node.input[0], node.input[1] = source, weights
        nodes.append(node)
    for node, expected in zip(nodes, half.graph.node, strict=False):
        wiring = f"{node.op_type}: {', '.join(node.input)} → {', '.join(node.output)}"
        _require(node == expected, f"{node.name} is not the FP16 graph's {expected.name}", wiring)
    _require(len(nodes) == len(half.graph.node), "it has other nodes than the FP16 graph", f"{len(nodes)} nodes")
    missing = planned.keys() - {node.name for node in nodes}
    _require(not missing, "a convolution of the plan is missing", ", ".join(sorted(missing)))
    counts = {kind: sum(node.op_type == kind for node in model.graph.node) for kind in (QUANTIZE, DEQUANTIZE)}
    expected_counts = {QUANTIZE: len(planned), DEQUANTIZE: 2 * len(planned)}
    _require(counts == expected_counts, f"it quantizes elsewhere too: the plan needs {expected_counts}", str(counts))
    changed = [name for name in half_arrays.keys() & arrays.keys() if not _equal(arrays[name], half_arrays[name])]
    _require(not changed, "constants are not the FP16 graph's", ", ".join(sorted(changed)))
    convolutions = sum(node.op_type == "Conv" for node in nodes)
    return Int8Proof(COMPARED, len(planned), convolutions - len(planned))


def _prove_conv(
    node: onnx.NodeProto, conv: PlannedConv, half_weights: NDArray[Any], producers: Nodes, arrays: Arrays
) -> str:
    """Check the inputs of one convolution; return the name of the value that is quantized for it."""
    activation, weight = (producers.get(name) for name in node.input[:2])
    both = [producer is not None and producer.op_type == DEQUANTIZE for producer in (activation, weight)]
    _require(all(both), f"{conv.name} does not have both its input and its weights in int8", str(both))
    assert activation is not None
    assert weight is not None
    _prove_weights(weight, conv.name, half_weights, arrays)
    quantize = producers.get(activation.input[0])
    if quantize is None or quantize.op_type != QUANTIZE:
        raise _defect(f"the input of {conv.name} is dequantized, but never quantized", activation.input[0])
    scale, zero = np.array(conv.input_scale, half_weights.dtype), np.array(0, np.int8)
    _require(bool(0 < scale < np.inf), f"the plan's scale of {conv.name}'s input is none in {scale.dtype}", str(scale))
    for part in (quantize, activation):
        part_name = f"{part.op_type} of {conv.name}'s input"
        _require_array(arrays, part.input[1], scale, f"{part_name} does not have the plan's scale")
        _require_array(arrays, part.input[2], zero, f"{part_name} is not symmetric")
    return str(quantize.input[0])


def _prove_weights(dequantize: onnx.NodeProto, name: str, half_weights: NDArray[Any], arrays: Arrays) -> None:
    """Check that INT8 weights with one scale per output channel are the FP16 weights."""
    values, scales = (arrays.get(constant) for constant in dequantize.input[:2])
    if values is None or values.dtype != np.int8 or values.shape != half_weights.shape:
        raise _defect(f"the int8 weights of {name} have another shape or type", _text(values))
    if scales is None or scales.dtype != half_weights.dtype or scales.shape != (len(half_weights),):
        raise _defect(f"the weights of {name} do not have one scale per channel", _text(scales))
    valid = bool((scales > 0).all() and np.isfinite(scales).all())
    _require(valid, f"a scale of the weights of {name} is none in {scales.dtype}", _text(scales))
    multiplied = (values * scales.astype(np.float32)[:, None, None, None]).astype(half_weights.dtype)
    problem = f"the int8 weights of {name}, multiplied out, are not the planned ones"
    _require(_equal(multiplied, half_weights), problem, dequantize.input[0])
    zeros = np.zeros(len(scales), np.int8)
    _require_array(arrays, dequantize.input[2], zeros, f"the weights of {name} are not symmetric")
    axes = [attribute.i for attribute in dequantize.attribute if attribute.name == "axis"]
    _require(axes == [0], f"the weights of {name} are not scaled by output channel", f"axis {axes}")


def _frame(model: onnx.ModelProto) -> tuple[Any, ...]:
    """Return versions, metadata, inputs and outputs of a model."""
    graph = model.graph
    parts = (model.opset_import, model.metadata_props, graph.input, graph.output)
    return (model.ir_version, *(list(part) for part in parts))


def _arrays(model: onnx.ModelProto) -> Arrays:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Compare bit for bit: the sign of a zero counts, and NaN equals itself."""
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def _text(array: NDArray[Any] | None) -> str:
    if array is None:
        return "no constant"
    first = ", ".join(map(str, array.flat[:4])) + (" …" if array.size > 4 else "")
    return f"{array.dtype} {array.shape}: {first}"


def _require_array(arrays: Arrays, name: str, expected: NDArray[Any], problem: str) -> None:
    array = arrays.get(name)
    equal = array is not None and _equal(array, expected)
    _require(equal, problem, f"{name} is {_text(array)}; it should be {_text(expected)}")


def _require(condition: bool, problem: str, value: str) -> None:
    if not condition:
        raise _defect(problem, value)


def _defect(problem: str, value: str) -> CheckFailed:
    return CheckFailed(f"the exported ONNX file is wrong: {problem}", value, DEFECT)
