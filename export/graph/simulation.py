"""Simulation of a half-precision ONNX file in FP32, on any CPU: every half value is rounded to its type.

Runtimes without half arithmetic silently compute in FP32. ONNX Runtime on x86-64 drops every rounding between the
layers of an FP16 file, and so hides half of its accuracy loss. A GPU multiplies half numbers exactly, sums in FP32 and
rounds the values that it stores. The simulation does the same.
"""

import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from export.graph.type_proof import FLOAT, value_types

HALF_TYPES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def with_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph in FP32 with every half value rounded to its type as soon as it is computed."""
    types = value_types(model)
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    graph = rounded.graph
    for initializer in graph.initializer:
        if initializer.data_type in HALF_TYPES:
            array = numpy_helper.to_array(initializer).astype("float32")
            initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
    nodes: list[NodeProto] = []
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Cast" else ():
            attribute.i = FLOAT if attribute.i in HALF_TYPES else attribute.i
        casts = []
        for index, name in enumerate(node.output):
            if types[name] in HALF_TYPES:
                node.output[index] = f"{name}/exact"
                casts.append(helper.make_node("Cast", [f"{name}/exact"], [f"{name}/half"], to=types[name]))
                casts.append(helper.make_node("Cast", [f"{name}/half"], [name], to=FLOAT))
        nodes += [node, *casts]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    del graph.value_info[:]
    return rounded
