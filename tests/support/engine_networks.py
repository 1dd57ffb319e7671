"""Networks to build engines from."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.support.small_networks import FLOAT, cast


def network(*nodes: Any, batch: int | str = "batch", name: str = "image", kind: int = FLOAT, out: int = FLOAT) -> bytes:
    """A convolution (channels 3 to 8, 32×32) and what follows it, as an ONNX file's bytes."""
    weight = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(helper.tensor_dtype_to_np_dtype(kind))
    conv = helper.make_node("Conv", [name, "weight"], ["features"], "conv", pads=[1, 1, 1, 1])
    graph = helper.make_graph(
        [conv, *(nodes or [helper.make_node("Relu", ["features"], ["joints"], "relu")])],
        "tiny",
        [helper.make_tensor_value_info(name, kind, [batch, 3, 32, 32])],
        [helper.make_tensor_value_info("joints", out, [batch, 8, 32, 32])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


HALF_INSIDE = (cast("features", "half", TensorProto.FLOAT16), cast("half", "joints", FLOAT))
