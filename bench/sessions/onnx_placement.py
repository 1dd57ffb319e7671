"""What ONNX Runtime makes of a file: in which type it really convolves."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.sessions.protocol import Executed
from export.runtime.onnx_runtime import open_session
from export.runtime.session import Model, model_bytes

TYPES = {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16", "INT8": "int8", "UINT8": "int8"}

INTEGER_CONVOLUTIONS = ("QLinearConv", "ConvInteger")


def executed_graph(model: Model, options: Any, providers: Sequence[Any]) -> Executed:
    """How many nodes there are, and how many convolutions run in which precision, in what the session executes.

    The optimised graph is written out and read. Where a processor has no kernel for a type, ONNX Runtime casts to
    one that it has, and where an explicitly quantised convolution does not fuse, it computes in float32.

    Args:
        model: the ONNX model.
        options: the session's options; where the optimised graph is written is set, and taken back.
        providers: the session's.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "optimised.onnx"
        before = options.optimized_model_filepath
        options.optimized_model_filepath = str(written)
        try:
            open_session(model, options, providers)
        finally:
            options.optimized_model_filepath = before
        graph = onnx.load(written).graph
    types = {tensor.name: onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in graph.initializer}
    counts: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in INTEGER_CONVOLUTIONS:
            counts["int8"] += 1
        elif node.op_type in ("Conv", "FusedConv"):
            counts[TYPES.get(types.get(node.input[1], ""), "fp32")] += 1
    return Executed(len(graph.node), counts)


def quantises(model: Model) -> bool:
    """Whether the file says which values are rounded to int8, whatever a runtime then computes in."""
    import onnx

    return any(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(model_bytes(model)).graph.node)
