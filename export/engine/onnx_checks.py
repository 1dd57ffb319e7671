"""Checks of an ONNX file before an engine is built from it: its types, its precision plan, its shapes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from export.common.errors import BadInput
from export.common.interface import FP32_CONVOLUTIONS, INPUT
from export.engine.plan import EnginePlan

if TYPE_CHECKING:
    from onnx import GraphProto


def onnx_precision(model: bytes, path: Path, plan: EnginePlan) -> str:
    """Return the precision that the types in an ONNX file declare.

    The file is read itself: TensorRT's parser silently narrows float64 to float32. ``check_types`` of
    ``export.runtime.engine_network`` proves that the network keeps the precision.

    Raises:
        BadInput: the output is not float32, the input neither that nor pixels; the precision is not the plan's, or
            weights are in other files.
    """
    from onnx import ModelProto, TensorProto

    graph = ModelProto.FromString(model).graph
    weights = {tensor.name for tensor in graph.initializer}
    for value in [*(value for value in graph.input if value.name not in weights), *graph.output]:
        pixels = (TensorProto.UINT8,) if value.name == INPUT else ()
        if (kind := value.type.tensor_type.elem_type) not in (TensorProto.FLOAT, *pixels):
            detail = f"{value.name} is {TensorProto.DataType.Name(kind)}"
            raise BadInput(f"{path} has an input or output that is not float32", detail, "cast inside the network")
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in graph.initializer):
        advice = "save it as one file; the hash that identifies the engine covers that file"
        raise BadInput(f"{path} is not the whole model", "weights in other files", advice)
    precision = _precision_of_types(graph)
    if precision != plan.precision:
        advice = f"ask for {precision}, or export the model in {plan.precision}"
        raise BadInput(f"{path} has another precision than the plan", f"{precision}, not {plan.precision}", advice)
    return precision


def read_precision(path: Path) -> str | None:
    """Return the precision of an ONNX file; None if it cannot be read, which ``build_engine`` reports."""
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    try:
        return _precision_of_types(ModelProto.FromString(path.read_bytes()).graph)
    except (OSError, DecodeError):
        return None


def _precision_of_types(graph: "GraphProto") -> str:
    from onnx import TensorProto

    kinds = {tensor.data_type for tensor in graph.initializer}
    kinds |= {attribute.i for node in graph.node if node.op_type == "Cast" for attribute in node.attribute}
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node):
        return "int8"
    if TensorProto.BFLOAT16 in kinds:
        return "bf16"
    return "fp16" if TensorProto.FLOAT16 in kinds else "fp32"


def planned_fp32(model: bytes) -> int:
    """Return the number of convolutions that a precision plan keeps in FP32, from an ONNX file's metadata.

    Raises:
        BadInput: the metadata is no list of names.
    """
    from onnx import ModelProto

    text = {prop.key: prop.value for prop in ModelProto.FromString(model).metadata_props}.get(FP32_CONVOLUTIONS, "[]")
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list):
        raise BadInput(f"the file's metadata {FP32_CONVOLUTIONS} is no list", text[:80], "export the model again")
    return len(names)


def profile_shapes(shape: tuple[int, ...], plan: EnginePlan) -> list[tuple[int, ...]]:
    """Return the input's smallest, usual and largest shape.

    Raises:
        BadInput: something other than the batch is open, or a fixed batch is not the plan's.
    """
    batches = (plan.batch_min, plan.batch_opt, plan.batch_max)
    if not (len(shape) == 4 and all(size > 0 for size in shape[1:])):
        raise BadInput(f"{INPUT} must be open in the batch only", str(shape), "export with all other sizes fixed")
    if shape[0] != -1 and {shape[0]} != set(batches):
        advice = f"export with an open batch, or ask for {shape[0]} only"
        raise BadInput(f"the batch of {INPUT} is fixed", f"{shape[0]}; asked for {batches} (min, opt, max)", advice)
    return [(batch, *shape[1:]) for batch in batches]
