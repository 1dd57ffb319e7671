"""Proof, from the file alone, that a graph has the types that its precision means."""

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

import onnx
from onnx import TensorProto

from export.common.errors import CheckFailed

FLOAT = TensorProto.FLOAT
BODY = {"fp32": FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "int8": TensorProto.FLOAT16}
"""The type of the body, in int8 of what is not quantised; the decode is FP32 in every precision."""
OPSETS = {"fp32": 18, "fp16": 18, "bf16": 22, "int8": 19}
"""Every operator that is used stands in opset 18, which TensorRT 10.3 (JetPack 6) reads as well; quantisation with
scales of float16 stands in opset 19, a convolution of bfloat16 in opset 22 only."""
BYTES = {FLOAT: 4, TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2, TensorProto.INT8: 1}
LARGEST_SHARE = {"fp32": 1.0, "fp16": 0.55, "bf16": 0.55, "int8": 0.55}
"""Of the bytes that the same numbers take in FP32, without what is FP32 in every precision: constants of both ends, and
factors of upsamplings. With all that the placement allows in int8 it is 0.26 to 0.28; how much of that its plan has
left is the plan's to tell."""
ENDS = ("entry", "decode")
"""Modules, and so beginnings of nodes' names, before and after the body."""
WHOLE_NUMBERS = (TensorProto.INT64, TensorProto.INT8)


@dataclass(frozen=True)
class TypeProof:
    """What the walk over all values has found."""

    operators: dict[str, dict[str, int]]
    """Operator → type of what it gives → how many."""
    casts: dict[str, int]
    initializer_share: float
    """Of the bytes that the same numbers take in FP32."""


@dataclass(frozen=True)
class Int8Proof:
    """Result of comparing an INT8 file with the FP16 file and the plan that it was made from."""

    compared: str
    convolutions_int8: int
    """Input and weights are dequantised from int8, through the plan's scales."""
    convolutions_fp16: int


def prove_types(model: onnx.ModelProto, precision: str, in_fp32: Collection[str] = ()) -> TypeProof:
    """Check that convolutions have the planned types, softmax and sums are FP32, and types change only where planned.

    The casts are counted: none is left for another part of the body in FP32, or for a part of the decode in half.
    Bytes are cast at once, and nothing else is done to them. INT8 has no casts of its own: only what quantizes and
    dequantizes may touch it.

    Args:
        model: named by module (``export.graph.onnx_graph``).
        precision: of the file.
        in_fp32: names of the convolutions that its plan keeps in FP32.

    Raises:
        CheckFailed: one of these does not hold; the message names the node. Or it takes too many bytes.
    """
    types = value_types(model)
    body = BODY[precision]
    operators: dict[str, Counter[str]] = {}
    casts: Counter[str] = Counter()
    for node in model.graph.node:
        given = [types[name] for name in node.output if name]
        floats = [kind for name in (*node.input, *node.output) if name and (kind := types[name]) not in WHOLE_NUMBERS]
        where, seen = f"{node.name or node.output[0]} ({node.op_type})", ", ".join(map(_name, floats))
        for kind in given:
            operators.setdefault(node.op_type, Counter())[_name(kind)] += 1
        if node.op_type == "Cast":
            casts[f"{_name(types[node.input[0]])} → {_name(given[0])}"] += 1
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            _require(precision == "int8", f"{where} is in a graph that is not quantised", seen)
        elif TensorProto.INT8 in (types[name] for name in (*node.input, *node.output) if name):
            _require(False, f"{where} computes with int8 itself", seen)
        elif node.op_type == "Conv":
            own = _conv_type(node, body, in_fp32)
            _require(all(kind == own for kind in floats), f"{where} is not {_name(own)} throughout", seen)
        elif must_be_fp32(node.op_type):
            _require(all(kind == FLOAT for kind in floats), f"{where} is not float32", seen)
        known = (FLOAT, body, TensorProto.UINT8) if node.op_type == "Cast" else (FLOAT, body)
        _require(all(kind in known for kind in floats), f"{where} has a type of another precision", seen)
    _require("Conv" in operators and "Softmax" in operators, "it has no convolution or no softmax", list(operators))
    _require(precision != "int8" or "QuantizeLinear" in operators, "it quantises nothing", list(operators))
    planned = planned_casts(model, body, in_fp32)
    _require(casts == planned, "it changes its type elsewhere than planned", f"{dict(casts)}, planned {dict(planned)}")
    share, most = _initializer_share(model, in_fp32), LARGEST_SHARE[precision]
    _require(share <= most, f"its weights take more than {most} of what they take in FP32", share)
    return TypeProof({kind: dict(counts) for kind, counts in sorted(operators.items())}, dict(casts), share)


def planned_casts(model: onnx.ModelProto, body: int, in_fp32: Collection[str]) -> Counter[str]:
    """Count the changes of type along the chain of convolutions; the backbone's last norm is in half precision."""
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    kinds = [_conv_type(node, body, in_fp32) for node in convs]
    head = next((index for index, node in enumerate(convs) if node.name.startswith("head.")), len(convs))
    chain = [model.graph.input[0].type.tensor_type.elem_type, *kinds[:head], body, *kinds[head:], FLOAT]
    return Counter(f"{_name(a)} → {_name(b)}" for a, b in pairwise(chain) if a != b)


def _conv_type(node: onnx.NodeProto, body: int, in_fp32: Collection[str]) -> int:
    return FLOAT if node.name.removesuffix("/Conv") in in_fp32 else body


def must_be_fp32(operator: str) -> bool:
    """A softmax over 262,144 bins, and sums of its tiny terms, are nothing for half precision."""
    return operator in ("Softmax", "LogSoftmax", "CumSum") or operator.startswith("Reduce")


def value_types(model: onnx.ModelProto) -> dict[str, int]:
    """Every value's element type, as ONNX infers it.

    Raises:
        CheckFailed: the type of a value is not known.
    """
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        for name in (*node.input, *node.output):
            known = not name or types.get(name, TensorProto.UNDEFINED) != TensorProto.UNDEFINED
            _require(known, f"the type of {name} is not known", node.op_type)
    return types


def _initializer_share(model: onnx.ModelProto, in_fp32: Collection[str]) -> float:
    """Of the bytes in FP32, without what is meant to be there."""
    meant = {f"{name}.{part}" for name in in_fp32 for part in ("weight", "bias")}
    for node in model.graph.node:
        if node.name.startswith(ENDS) or node.op_type == "Resize":
            meant.update(node.input)
    stored = {i.name: i for i in model.graph.initializer if i.data_type in BYTES and i.name not in meant}.values()
    count = sum(math.prod(i.dims) for i in stored)
    return sum(BYTES[i.data_type] * math.prod(i.dims) for i in stored) / (4 * count) if count else math.nan


def _name(kind: int) -> str:
    """As NumPy calls it."""
    return str(onnx.helper.tensor_dtype_to_np_dtype(kind))


def _require(good: bool, what: str, seen: object) -> None:
    if not good:
        do = "this is a defect of the exporter; report it"
        raise CheckFailed(f"the exported ONNX file is wrong: {what}", str(seen), do)
