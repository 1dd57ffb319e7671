"""INT8 in the graph: explicit quantize and dequantize nodes around the convolutions of a plan.

TensorRT's rules for explicit quantization ask for symmetric INT8 with zero point 0, one scale per tensor for
activations and one per output channel for weights, biases in floating point, and nodes at the inputs of convolutions
only. Scales have the type of the graph around them, since a dequantized tensor has the type of its scale.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from export.common.errors import CheckFailed
from export.graph.onnx_graph import check_onnx, load_checked, write_onnx
from export.graph.onnx_record import OnnxRecord
from export.graph.type_proof import OPSETS, prove_types
from export.model.network import ConvNeXtPose
from export.plan.int8_proof import DEFECT, DEQUANTIZE, NODE_SUFFIX, QUANTIZE, prove_int8
from export.plan.planned import Int8Weights
from export.plan.precision_plan import PrecisionPlan


def export_int8(
    network: ConvNeXtPose,
    path: Path,
    metadata: Mapping[str, str],
    plan: PrecisionPlan,
    weights: Mapping[str, Int8Weights],
) -> OnnxRecord:
    """Write the FP16 graph ``network`` with the plan's convolutions in INT8, and check the file.

    The FP16 file is checked against the network, and then the INT8 file against the FP16 file and the plan.

    Raises:
        CheckFailed: a check failed.
    """
    write_onnx(network, path, metadata, OPSETS["int8"])
    record = check_onnx(path, network, "fp16")
    half, model = onnx.load(path), onnx.load(path)
    insert_int8(model, plan, weights)
    onnx.save(model, path)
    model = load_checked(path)
    return replace(
        record,
        int8=prove_int8(model, half, plan),
        nodes=dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        initializer_bytes=sum(numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer),
        types=prove_types(model, "int8"),
    )


def insert_int8(model: onnx.ModelProto, plan: PrecisionPlan, weights: Mapping[str, Int8Weights]) -> None:
    """Quantize the plan's convolutions in ``model``, in place; its nodes are named after the modules.

    Raises:
        CheckFailed: a convolution of the plan is missing in the graph or in the weights.
    """
    graph = model.graph
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    nodes = {node.name.removesuffix(NODE_SUFFIX): node for node in graph.node if node.op_type == "Conv"}
    added: dict[str, list[onnx.NodeProto]] = {}
    for conv in plan.quantized:
        node = nodes.get(conv.name)
        if node is None or node.input[1] not in arrays or conv.name not in weights:
            raise CheckFailed("the int8 plan does not fit the graph", conv.name, DEFECT)
        dtype = numpy_helper.to_array(arrays[node.input[1]]).dtype
        assert conv.input_scale is not None
        added[node.name] = _quantize(graph, node, weights[conv.name], conv.input_scale, dtype)
    ordered = [part for node in graph.node for part in (*added.get(node.name, ()), node)]
    del graph.node[:]
    graph.node.extend(ordered)
    inputs = {name for node in graph.node for name in node.input}
    used = [tensor for tensor in graph.initializer if tensor.name in inputs]
    del graph.initializer[:]
    graph.initializer.extend(used)


def _quantize(
    graph: onnx.GraphProto, conv: onnx.NodeProto, weights: Int8Weights, scale: float, dtype: np.dtype[Any]
) -> list[onnx.NodeProto]:
    """Rewire the inputs of ``conv``; return the nodes to insert before it."""
    stem = conv.name.removesuffix(NODE_SUFFIX)  # layers may share weights, not names
    input_pair = [f"{stem}.input_scale", f"{stem}.input_zero_point"]
    weight_triple = [f"{stem}.weight.int8", f"{stem}.weight.scales", f"{stem}.zero_points"]
    arrays = (
        np.array(scale, dtype),
        np.array(0, np.int8),
        weights.values,
        weights.scales.astype(dtype),
        np.zeros(len(weights.scales), np.int8),
    )
    names = [*input_pair, *weight_triple]
    graph.initializer.extend(numpy_helper.from_array(a, name) for a, name in zip(arrays, names, strict=True))
    quantized, value, weight = f"{stem}.input_int8", f"{stem}.input", f"{stem}.weight.dequantized"
    make = onnx.helper.make_node
    nodes = [
        make(QUANTIZE, [conv.input[0], *input_pair], [quantized], f"{stem}/QuantizeLinear"),
        make(DEQUANTIZE, [quantized, *input_pair], [value], f"{stem}/DequantizeLinear"),
        make(DEQUANTIZE, weight_triple, [weight], f"{stem}/DequantizeLinear_weight", axis=0),
    ]
    conv.input[0], conv.input[1] = value, weight
    return nodes
