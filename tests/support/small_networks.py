"""ONNX files of a few layers with the interface of a pose network, in right and wrong types."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def cast(source: str, target: str, kind: int) -> Any:
    return helper.make_node("Cast", [source], [target], f"cast_{target}", to=kind)


def model(
    nodes: list[Any],
    constants: dict[str, Any],
    *,
    opset: int,
    out: int = 8,
    batch: int | str = "batch",
    name: str = "image",
    kind: int = FLOAT,
    out_kind: int = FLOAT,
) -> bytes:
    """Return a network from ``image`` (batch, 3, 32, 32) to ``joints`` (batch, ``out``, 32, 32)."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, kind, [batch, 3, 32, 32])],
        [helper.make_tensor_value_info("joints", out_kind, [batch, out, 32, 32])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return bytes(proto.SerializeToString())


def network(*nodes: Any, name: str = "image", kind: int = FLOAT, **interface: Any) -> bytes:
    """Return a convolution from ``name`` to ``features``, and ``nodes`` (a ReLU by default) behind it."""
    conv = helper.make_node("Conv", [name, "weight"], ["features"], "conv", pads=[1, 1, 1, 1])
    rest = nodes or [helper.make_node("Relu", ["features"], ["joints"], "relu")]
    return model([conv, *rest], {"weight": weights(kind)}, opset=17, name=name, kind=kind, **interface)


def weights(kind: int) -> Any:
    """Return random weights (8, 3, 3, 3)."""
    return np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(helper.tensor_dtype_to_np_dtype(kind))


def half_network(*, conv: int = HALF, softmax: int = FLOAT) -> bytes:
    """Return a small network with the types of an exported FP16 network, or others for convolution and softmax."""
    nodes = [
        cast("image", "half", conv),
        helper.make_node("Conv", ["half", "weight"], ["features"], "conv", pads=[1, 1, 1, 1]),
        cast("features", "more", HALF),
        helper.make_node("Relu", ["more"], ["active"], "relu"),
        cast("active", "logits", softmax),
        helper.make_node("Softmax", ["logits"], ["shares"], "softmax", axis=1),
        cast("shares", "joints", FLOAT),
    ]
    return model(nodes, {"weight": weights(conv)}, opset=22)


def product_network(*, conv: bool, product: int) -> bytes:
    """Return a network with an FP16 convolution, or none, and a matrix product of type ``product``."""
    square = np.eye(32, dtype=helper.tensor_dtype_to_np_dtype(product))
    nodes = [cast("image", "half", HALF)]
    if conv:
        nodes.append(helper.make_node("Conv", ["half", "weight"], ["features"], "conv", pads=[1, 1, 1, 1]))
    nodes += [
        cast("features" if conv else "half", "rows", product),
        helper.make_node("MatMul", ["rows", "square"], ["product_out"], "product"),
        cast("product_out", "joints", FLOAT),
    ]
    constants = {"square": square} | ({"weight": weights(HALF)} if conv else {})
    return model(nodes, constants, opset=18, out=8 if conv else 3)


def int8_network(*, around: int = HALF, activation: bool = True, weight: bool = True, elsewhere: bool = False) -> bytes:
    """Return a convolution with its input (``activation``), its weights, or a ReLU's input (``elsewhere``) in int8."""
    kind = helper.tensor_dtype_to_np_dtype(around)
    constants: dict[str, Any] = {"scale": np.array(0.05, kind), "zero": np.array(0, np.int8)}

    def quantized(source: str, target: str) -> list[Any]:
        return [
            helper.make_node("QuantizeLinear", [source, "scale", "zero"], [f"{target}_int8"], f"quantize_{target}"),
            helper.make_node("DequantizeLinear", [f"{target}_int8", "scale", "zero"], [target], f"{target}_back"),
        ]

    nodes, source = [cast("image", "typed", around)], "typed"
    if activation:
        nodes += quantized(source, "input")
        source = "input"
    if weight:
        stored = np.random.default_rng(0).integers(-127, 128, (8, 3, 3, 3)).astype(np.int8)
        constants |= {"stored": stored, "scales": np.full(8, 0.01, kind), "zeros": np.zeros(8, np.int8)}
        nodes.append(helper.make_node("DequantizeLinear", ["stored", "scales", "zeros"], ["weight"], "weight", axis=0))
    else:
        constants["weight"] = weights(around)
    nodes.append(helper.make_node("Conv", [source, "weight"], ["features"], "conv", pads=[1, 1, 1, 1]))
    active = "features"
    if elsewhere:
        nodes += quantized("features", "rounded")
        active = "rounded"
    nodes += [helper.make_node("Relu", [active], ["active"], "relu"), cast("active", "joints", FLOAT)]
    return model(nodes, constants, opset=19)


HALF_INSIDE = (cast("features", "half", HALF), cast("half", "joints", FLOAT))
"""Nodes of a network that computes in FP16 after its FP32 convolution."""
