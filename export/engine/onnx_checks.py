"""Checks of an ONNX file before an engine is built from it: its types, its precision plan, its shapes."""

import json
from pathlib import Path

from export.common.errors import BadInput
from export.common.interface import FP32_CONVOLUTIONS, INPUT
from export.engine.plan import EnginePlan


def check_types(model: bytes, path: Path, plan: EnginePlan) -> str:
    """The precision that the types in the ONNX file say; whether they keep it is ``check_layers``' to prove.

    Read from the file, since the parser narrows float64 to float32 without a word and then reports float32.

    Raises:
        BadInput: the output is not float32, the input neither that nor pixels; the precision is not the plan's, or
            weights lie in other files.
    """
    from onnx import ModelProto, TensorProto

    graph = ModelProto.FromString(model).graph
    weights = {tensor.name for tensor in graph.initializer}
    for value in [*(value for value in graph.input if value.name not in weights), *graph.output]:
        pixels = (TensorProto.UINT8,) if value.name == INPUT else ()
        if (kind := value.type.tensor_type.elem_type) not in (TensorProto.FLOAT, *pixels):
            seen = f"{value.name} is {TensorProto.DataType.Name(kind)}"
            raise BadInput(f"{path} has an input or output that is not float32", seen, "cast inside the network")
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in graph.initializer):
        do = "save it as one file; the hash that identifies the engine covers that file"
        raise BadInput(f"{path} is not the whole model", "weights in other files", do)
    kinds = {tensor.data_type for tensor in graph.initializer}
    kinds |= {attribute.i for node in graph.node if node.op_type == "Cast" for attribute in node.attribute}
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node):
        precision = "int8"
    elif TensorProto.BFLOAT16 in kinds:
        precision = "bf16"
    else:
        precision = "fp16" if TensorProto.FLOAT16 in kinds else "fp32"
    if precision != plan.precision:
        do = f"ask for {precision}, or export the model in {plan.precision}"
        raise BadInput(f"{path} has another precision than the plan", f"{precision}, not {plan.precision}", do)
    return precision


def planned_fp32(model: bytes) -> int:
    """Return how many convolutions an ONNX file says that its plan keeps in FP32, in its metadata.

    Raises:
        BadInput: the metadata are no list of names.
    """
    from onnx import ModelProto

    text = {prop.key: prop.value for prop in ModelProto.FromString(model).metadata_props}.get(FP32_CONVOLUTIONS, "[]")
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list):
        raise BadInput(f"the file's metadata {FP32_CONVOLUTIONS} are no list", text[:80], "export the model again")
    return len(names)


def profile_shapes(shape: tuple[int, ...], plan: EnginePlan) -> list[tuple[int, ...]]:
    """The input's smallest, usual and largest shape.

    Raises:
        BadInput: something other than the batch is open, or a fixed batch is not the plan's.
    """
    batches = (plan.batch_min, plan.batch_opt, plan.batch_max)
    if not (len(shape) == 4 and all(size > 0 for size in shape[1:])):
        raise BadInput(f"{INPUT} must be open in the batch only", str(shape), "export with all other sizes fixed")
    if shape[0] != -1 and {shape[0]} != set(batches):
        do = f"export with an open batch, or ask for {shape[0]} only"
        raise BadInput(f"the batch of {INPUT} is fixed", f"{shape[0]}; asked for {batches} (min, opt, max)", do)
    return [(batch, *shape[1:]) for batch in batches]
