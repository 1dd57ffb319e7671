"""Writer of the model that tests OpenVINO's INT8 sums: ``python -m tests.support.int8_probe``."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from export.runtime import openvino
from export.runtime.openvino import PROBE, PROBE_CHANNELS, PROBE_VALUE

FILE = Path(openvino.__file__).with_name(PROBE)


def largest_products() -> onnx.ModelProto:
    """Return (1, C, 4, 4) → (1, C, 4, 4), through int8 with every scale 1, as ``export.plan.quantize`` writes it."""
    constants: dict[str, NDArray[Any]] = {
        "scale": np.array(1, np.float32),
        "zero_point": np.array(0, np.int8),
        "weight.int8": np.full((PROBE_CHANNELS, PROBE_CHANNELS, 1, 1), PROBE_VALUE, np.int8),
        "weight.scales": np.ones(PROBE_CHANNELS, np.float32),
        "weight.zero_points": np.zeros(PROBE_CHANNELS, np.int8),
    }
    make = onnx.helper.make_node
    nodes = [
        make("QuantizeLinear", ["image", "scale", "zero_point"], ["int8"]),
        make("DequantizeLinear", ["int8", "scale", "zero_point"], ["rounded"]),
        make("DequantizeLinear", ["weight.int8", "weight.scales", "weight.zero_points"], ["weight"], axis=0),
        make("Conv", ["rounded", "weight"], ["sums"]),
    ]
    shape = [1, PROBE_CHANNELS, 4, 4]
    ends = [onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "sums")]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = onnx.helper.make_graph(nodes, "largest_products", ends[:1], ends[1:], initializers)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=10)


if __name__ == "__main__":
    FILE.write_bytes(largest_products().SerializeToString(deterministic=True))
