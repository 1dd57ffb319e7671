"""Proof, from the file alone, that a graph has the types of its precision."""

import math
from collections import Counter
from collections.abc import Collection
from itertools import pairwise

import onnx
from onnx import TensorProto

from export.common.errors import CheckFailed
from export.graph.onnx_record import TypeProof

FLOAT = TensorProto.FLOAT
BODY = {"fp32": FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "int8": TensorProto.FLOAT16}
"""Type of the body, for INT8 of its part that is not quantized; the decode is FP32 in every precision."""
OPSETS = {"fp32": 18, "fp16": 18, "bf16": 22, "int8": 19}
"""Opset 18 has every operator, and TensorRT 10.3 (JetPack 6) reads it. Opset 19 adds quantization with float16 scales,
opset 22 convolutions of bfloat16."""
BYTES = {FLOAT: 4, TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2, TensorProto.INT8: 1}
LARGEST_SHARE = {"fp32": 1.0, "fp16": 0.55, "bf16": 0.55, "int8": 0.55}
"""Largest share of the weights' FP32 size, without the constants that are FP32 in every precision: those of both ends
and the factors of upsamplings. INT8 has 0.26 to 0.28 where its plan keeps nothing in FP16."""
ENDS = ("entry", "decode")
"""Modules before and after the body, with which their nodes' names begin."""
DECODE = ("Softmax", "MatMul")
"""Operators of the decode alone. They need FP32, since a softmax over 262,144 bins has tiny terms."""
WHOLE_NUMBERS = (TensorProto.INT64, TensorProto.INT8)


def prove_types(model: onnx.ModelProto, precision: str, in_fp32: Collection[str] = ()) -> TypeProof:
    """Check the types of convolutions and of the decode, and that types change only where planned.

    The number of casts is exact, so no other part of the body can be FP32 and no part of the decode half. A cast is the
    only operation on uint8, quantization and dequantization the only ones on int8.

    Raises:
        CheckFailed: a check fails, and the message names the node; or the weights are too large.
    """
    types = value_types(model)
    body = BODY[precision]
    operators: dict[str, Counter[str]] = {}
    casts: Counter[str] = Counter()
    for node in model.graph.node:
        outputs = [types[name] for name in node.output if name]
        kinds = [types[name] for name in (*node.input, *node.output) if name]
        floats = [kind for kind in kinds if kind not in WHOLE_NUMBERS]
        where, names = f"{node.name or node.output[0]} ({node.op_type})", ", ".join(map(_name, floats))
        for kind in outputs:
            operators.setdefault(node.op_type, Counter())[_name(kind)] += 1
        if node.op_type == "Cast":
            casts[f"{_name(types[node.input[0]])} → {_name(outputs[0])}"] += 1
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            _require(precision == "int8", f"{where} is in a graph that is not quantized", names)
        elif TensorProto.INT8 in kinds:
            raise file_defect(f"{where} computes with int8 itself", names)
        elif node.op_type == "Conv":
            planned = _conv_type(node, body, in_fp32)
            _require(all(kind == planned for kind in floats), f"{where} is not {_name(planned)} throughout", names)
        elif node.op_type in DECODE or node.op_type.startswith("Reduce"):
            _require(all(kind == FLOAT for kind in floats), f"{where} is not float32", names)
        allowed = (FLOAT, body, TensorProto.UINT8) if node.op_type == "Cast" else (FLOAT, body)
        _require(all(kind in allowed for kind in floats), f"{where} has a type of another precision", names)
    _require({"Conv", *DECODE} <= operators.keys(), "it lacks a convolution or the decode", list(operators))
    _require(precision != "int8" or "QuantizeLinear" in operators, "it quantizes nothing", list(operators))
    planned_counts = planned_casts(model, body, in_fp32)
    counts_text = f"{dict(casts)}, planned {dict(planned_counts)}"
    _require(casts == planned_counts, "its type changes differ from the plan", counts_text)
    share, most = _initializer_share(model, in_fp32), LARGEST_SHARE[precision]
    _require(share <= most, f"its weights take more than {most} of their size in FP32", share)
    return TypeProof({kind: dict(counts) for kind, counts in sorted(operators.items())}, dict(casts), share)


def planned_casts(model: onnx.ModelProto, body: int, in_fp32: Collection[str]) -> Counter[str]:
    """Count the type changes along the chain of convolutions; the backbone's last norm is in half precision."""
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    kinds = [_conv_type(node, body, in_fp32) for node in convs]
    head = next((index for index, node in enumerate(convs) if node.name.startswith("head.")), len(convs))
    chain = [model.graph.input[0].type.tensor_type.elem_type, *kinds[:head], body, *kinds[head:], FLOAT]
    return Counter(f"{_name(a)} → {_name(b)}" for a, b in pairwise(chain) if a != b)


def _conv_type(node: onnx.NodeProto, body: int, in_fp32: Collection[str]) -> int:
    return FLOAT if node.name.removesuffix("/Conv") in in_fp32 else body


def value_types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of every value, inferred by ONNX.

    Raises:
        CheckFailed: the type of a value is unknown.
    """
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        for name in (*node.input, *node.output):
            known = not name or types.get(name, TensorProto.UNDEFINED) != TensorProto.UNDEFINED
            _require(known, f"the type of {name} is unknown", node.op_type)
    return types


def _initializer_share(model: onnx.ModelProto, in_fp32: Collection[str]) -> float:
    """Return the weights' share of their FP32 size, without the planned FP32 constants."""
    planned = {f"{name}.{part}" for name in in_fp32 for part in ("weight", "bias")}
    for node in model.graph.node:
        if node.name.startswith(ENDS) or node.op_type == "Resize":
            planned.update(node.input)
    stored = {i.name: i for i in model.graph.initializer if i.data_type in BYTES and i.name not in planned}.values()
    count = sum(math.prod(i.dims) for i in stored)
    return sum(BYTES[i.data_type] * math.prod(i.dims) for i in stored) / (4 * count) if count else math.nan


def _name(kind: int) -> str:
    """Return NumPy's name of a type."""
    return str(onnx.helper.tensor_dtype_to_np_dtype(kind))


def _require(condition: bool, problem: str, value: object) -> None:
    if not condition:
        raise file_defect(problem, str(value))


def file_defect(problem: str, value: str) -> CheckFailed:
    """Return the error for an exported file that fails a check."""
    do = "this is a defect of the exporter; report it"
    return CheckFailed(f"the exported ONNX file is wrong: {problem}", value, do)
