"""Whether OpenVINO adds up int8 products exactly on this processor: tried, not looked up.

Without VNNI, x86 multiplies unsigned by signed bytes and adds pairs of products into 16 bits, which saturate
(VPMADDUBSW; Intel's oneDNN guide, "Nuances of int8 computations", and OpenVINO's own page on the "saturation issue").
The graph is right, and what comes out is not, in an amount that depends on the images.
"""

from functools import cache
from typing import Any

from export.openvino_core import openvino_core

CHANNELS = 64
LARGEST = 127

SATURATES = "this processor adds pairs of int8 products up in 16 bits, which saturate (no VNNI)"


@cache
def openvino_saturates() -> bool:
    """Whether a pointwise convolution of the largest int8 inputs and weights comes out wrong in OpenVINO."""
    import numpy as np

    core = openvino_core()
    model = core.read_model(largest_products().SerializeToString())
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    image = np.full((1, CHANNELS, 4, 4), LARGEST, np.float32)
    return bool(np.any(compiled([image])[0] != CHANNELS * LARGEST**2))


def largest_products() -> Any:
    """(1, C, 4, 4) → (1, C, 4, 4), through int8 with every scale 1, as ``export.quantize`` writes it."""
    import numpy as np
    import onnx
    from onnx import TensorProto, numpy_helper

    constants: dict[str, Any] = {
        "scale": np.array(1, np.float32),
        "zero_point": np.array(0, np.int8),
        "weight.int8": np.full((CHANNELS, CHANNELS, 1, 1), LARGEST, np.int8),
        "weight.scales": np.ones(CHANNELS, np.float32),
        "weight.zero_points": np.zeros(CHANNELS, np.int8),
    }
    make = onnx.helper.make_node
    nodes = [
        make("QuantizeLinear", ["image", "scale", "zero_point"], ["int8"]),
        make("DequantizeLinear", ["int8", "scale", "zero_point"], ["rounded"]),
        make("DequantizeLinear", ["weight.int8", "weight.scales", "weight.zero_points"], ["weight"], axis=0),
        make("Conv", ["rounded", "weight"], ["sums"]),
    ]
    ends = [onnx.helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, CHANNELS, 4, 4]) for n in ("image", "sums")]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = onnx.helper.make_graph(nodes, "largest_products", ends[:1], ends[1:], initializers)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=10)
