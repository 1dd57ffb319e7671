"""Proof, from the file alone, that an int8 graph is the proven FP16 graph and its plan, and nothing else."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.common.errors import CheckFailed
from export.graph.type_proof import Int8Proof
from export.plan.placement import PlannedConv
from export.plan.precision_plan import PrecisionPlan

NODE_SUFFIX = "/Conv"
"""A convolution's node is called after its module."""
QUANTISES, DEQUANTISES = "QuantizeLinear", "DequantizeLinear"
COMPARED = "bit for bit: the FP16 graph, proven before by its types and weights, with the plan's quantised convolutions"

Arrays = Mapping[str, NDArray[Any]]


def prove_int8(model: onnx.ModelProto, half: onnx.ModelProto, plan: PrecisionPlan) -> Int8Proof:
    """See that ``model`` is ``half`` with the plan's convolutions quantised, bit for bit.

    Every planned convolution reads its input through one scale of the plan, and weights with one scale an output
    channel that, multiplied out and rounded to FP16, are those of ``half``; every other node, constant, input, output
    and note is that of ``half``.
    Returns what was compared and counted.

    Args:
        model: the int8 graph.
        half: the graph before its int8, whose weights, types and interface are proven.
        plan: which convolutions are quantised, and with which scales.

    Raises:
        CheckFailed: naming the first node or constant that is not as it should be.
    """
    _require(_frame(model) == _frame(half), "its interface, opset or metadata are not the FP16 graph's", "see the file")
    arrays, known = _arrays(model), _arrays(half)
    made = {name: node for node in model.graph.node for name in node.output}
    before = {node.name: node for node in half.graph.node}
    planned = {placed.name + NODE_SUFFIX: placed for placed in plan.quantized}
    rest = []
    for node in model.graph.node:
        if node.op_type in (QUANTISES, DEQUANTISES):
            continue
        if node.name in planned and node.name in before:
            weights = before[node.name].input[1]
            source = _prove_conv(node, planned[node.name], known[weights], made, arrays)
            node = onnx.NodeProto.FromString(node.SerializeToString())
            node.input[0], node.input[1] = source, weights
        rest.append(node)
    for seen, expected in zip(rest, half.graph.node, strict=False):
        _require(seen == expected, f"{seen.name} is not the FP16 graph's {expected.name}", _wired(seen))
    _require(len(rest) == len(half.graph.node), "it has other nodes than the FP16 graph", f"{len(rest)} nodes")
    missing = planned.keys() - {node.name for node in rest}
    _require(not missing, "a convolution of the plan is not in it", ", ".join(sorted(missing)))
    counts = {kind: sum(node.op_type == kind for node in model.graph.node) for kind in (QUANTISES, DEQUANTISES)}
    right = {QUANTISES: len(planned), DEQUANTISES: 2 * len(planned)}
    _require(counts == right, f"it quantises elsewhere too: the plan needs {right}", str(counts))
    changed = [name for name in known.keys() & arrays.keys() if not _same(arrays[name], known[name])]
    _require(not changed, "constants are not the FP16 graph's", ", ".join(sorted(changed)))
    convolutions = sum(node.op_type == "Conv" for node in rest)
    return Int8Proof(COMPARED, len(planned), convolutions - len(planned))


def _prove_conv(
    node: onnx.NodeProto,
    placed: PlannedConv,
    weights: NDArray[Any],
    made: Mapping[str, onnx.NodeProto],
    arrays: Arrays,
) -> str:
    """Check what one convolution reads; returns the name of the value that is quantised for it."""
    name = placed.name
    activation, constant = (made.get(source) for source in node.input[:2])
    both = [source is not None and source.op_type == DEQUANTISES for source in (activation, constant)]
    _require(all(both), f"{name} does not have both its input and its weights in int8", str(both))
    assert activation is not None
    assert constant is not None
    quantise = made.get(activation.input[0])
    if quantise is None or quantise.op_type != QUANTISES:
        raise _broken(f"the input of {name} is dequantised, but never quantised", activation.input[0])
    step, zero = np.array(placed.input_scale, weights.dtype), np.array(0, np.int8)
    _require(bool(0 < step < np.inf), f"the plan's scale of {name}'s input is none in {step.dtype}", str(step))
    for part in (quantise, activation):
        _require_constant(arrays, part.input[1], step, f"{part.op_type} of {name}'s input has not the plan's scale")
        _require_constant(arrays, part.input[2], zero, f"{part.op_type} of {name}'s input is not symmetric")
    values, stored = arrays.get(constant.input[0]), arrays.get(constant.input[1])
    shaped = values is not None and values.dtype == np.int8 and values.shape == weights.shape
    _require(shaped, f"the int8 weights of {name} are not of its shape", constant.input[0])
    assert values is not None
    scaled = stored is not None and stored.dtype == weights.dtype and stored.shape == (len(weights),)
    _require(scaled, f"the weights of {name} do not have one scale a channel", constant.input[1])
    assert stored is not None
    held = bool((stored > 0).all() and np.isfinite(stored).all())
    _require(held, f"a scale of the weights of {name} is none in {stored.dtype}", _shown(stored))
    multiplied = (values * stored.astype(np.float32)[:, None, None, None]).astype(weights.dtype)
    wrong = f"the int8 weights of {name}, multiplied out, are not the planned ones"
    _require(_same(multiplied, weights), wrong, constant.input[0])
    zeros = np.zeros(len(stored), np.int8)
    _require_constant(arrays, constant.input[2], zeros, f"the weights of {name} are not symmetric")
    axes = [attribute.i for attribute in constant.attribute if attribute.name == "axis"]
    _require(axes == [0], f"the weights of {name} are not scaled by output channel", f"axis {axes}")
    return str(quantise.input[0])


def _frame(model: onnx.ModelProto) -> tuple[Any, ...]:
    """All of a model but what it computes."""
    graph = model.graph
    return (
        model.ir_version,
        *(list(part) for part in (model.opset_import, model.metadata_props, graph.input, graph.output)),
    )


def _arrays(model: onnx.ModelProto) -> Arrays:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Bit for bit: the sign of a zero counts, and a NaN is itself."""
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def _wired(node: onnx.NodeProto) -> str:
    return f"{node.op_type}: {', '.join(node.input)} → {', '.join(node.output)}"


def _shown(array: NDArray[Any] | None) -> str:
    if array is None:
        return "no constant"
    first = ", ".join(map(str, array.flat[:4])) + (" …" if array.size > 4 else "")
    return f"{array.dtype} {array.shape}: {first}"


def _require_constant(arrays: Arrays, name: str, expected: NDArray[Any], what: str) -> None:
    seen = arrays.get(name)
    good = seen is not None and _same(seen, expected)
    _require(good, what, f"{name} is {_shown(seen)}; it should be {_shown(expected)}")


def _require(good: bool, what: str, seen: str) -> None:
    if not good:
        raise _broken(what, seen)


def _broken(what: str, seen: str) -> CheckFailed:
    return CheckFailed(f"the exported ONNX file is wrong: {what}", seen, "this is a defect of the exporter; report it")
