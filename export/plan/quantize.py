"""Int8 in the graph: explicit quantise and dequantise nodes around the convolutions of a plan.

What TensorRT asks for (its explicit-quantisation rules): symmetric int8 with zero point 0, one scale a tensor for
activations and one an output channel for weights, biases in float, nodes at the inputs of convolutions only. Scales
have the type of the graph around them, since a dequantised tensor has the type of its scale.
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
from export.graph.onnx_graph import OnnxRecord, check_onnx, load_checked, write_onnx
from export.graph.type_proof import OPSETS, prove_types
from export.model.network import ConvNeXtPose
from export.plan.int8_proof import DEQUANTISES, NODE_SUFFIX, QUANTISES, prove_int8
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

    The file is checked twice: as an FP16 graph, whose weights must be the network's, and then as that graph with the
    plan in it.

    Raises:
        CheckFailed: it is not what was meant.
    """
    write_onnx(network, path, metadata, OPSETS["int8"])
    record = check_onnx(path, network, "fp16")
    half, model = onnx.load(path), onnx.load(path)
    insert_int8(model, plan, weights)
    onnx.save(model, path)
    model = load_checked(path)
    proof = prove_int8(model, half, plan)
    return replace(
        record,
        int8=proof,
        nodes=dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        initializer_bytes=sum(numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer),
        types=prove_types(model, "int8"),
    )


def insert_int8(model: onnx.ModelProto, plan: PrecisionPlan, weights: Mapping[str, Int8Weights]) -> None:
    """Quantize the plan's convolutions in ``model``, whose nodes are named by module, with these weights.

    Raises:
        CheckFailed: a convolution of the plan is not in the graph, or is not as it was planned.
    """
    graph = model.graph
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    nodes = {node.name.removesuffix(NODE_SUFFIX): node for node in graph.node if node.op_type == "Conv"}
    before: dict[str, list[onnx.NodeProto]] = {}
    for planned in plan.quantized:
        node = nodes.get(planned.name)
        if node is None or node.input[1] not in arrays or planned.name not in weights:
            raise CheckFailed("the int8 plan does not fit the graph", planned.name, "this is a defect; report it")
        dtype = numpy_helper.to_array(arrays[node.input[1]]).dtype
        assert planned.input_scale is not None
        before[node.name] = _quantise(graph, node, weights[planned.name], planned.input_scale, dtype)
    ordered = [part for node in graph.node for part in (*before.get(node.name, ()), node)]
    del graph.node[:]
    graph.node.extend(ordered)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _quantise(
    graph: onnx.GraphProto, node: onnx.NodeProto, weights: Int8Weights, scale: float, dtype: np.dtype[Any]
) -> list[onnx.NodeProto]:
    """Rewire ``node``; returns the nodes that must stand before it."""
    stem, source = node.name.removesuffix(NODE_SUFFIX), node.input[0]  # layers may share weights, not names
    zeros = f"{stem}.zero_points"
    constants = {
        f"{stem}.input_scale": np.array(scale, dtype),
        f"{stem}.input_zero_point": np.array(0, np.int8),
        f"{stem}.weight.int8": weights.values,
        f"{stem}.weight.scales": weights.scales.astype(dtype),
        zeros: np.zeros(len(weights.scales), np.int8),
    }
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    pair = [f"{stem}.input_scale", f"{stem}.input_zero_point"]
    made = [
        onnx.helper.make_node(QUANTISES, [source, *pair], [f"{stem}.input_int8"], f"{stem}/QuantizeLinear"),
        onnx.helper.make_node(
            DEQUANTISES, [f"{stem}.input_int8", *pair], [f"{stem}.input"], f"{stem}/DequantizeLinear"
        ),
        onnx.helper.make_node(
            DEQUANTISES,
            [f"{stem}.weight.int8", f"{stem}.weight.scales", zeros],
            [f"{stem}.weight.dequantized"],
            f"{stem}/DequantizeLinear_weight",
            axis=0,
        ),
    ]
    node.input[0], node.input[1] = f"{stem}.input", f"{stem}.weight.dequantized"
    return made
