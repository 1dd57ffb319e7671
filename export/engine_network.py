"""Proof, from the network that the parser has read, that an engine built from it computes in its precision.

Networks are strongly typed: the types of their tensors are the types that the engine computes in. What says int8 is
only int8 where a convolution takes both its input and its weights from int8, with which the builder fuses it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from export.engine_plan import EnginePlan
from export.errors import BadInput, CheckFailed
from export.interface import FP32_CONVOLUTIONS, INPUT, OUTPUT
from export.runtime.engine_builder import BODY_TYPE
from export.runtime.tensorrt_api import ILayer, INetworkDefinition, ITensor

WEIGHTED = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "EINSUM")
"""Layers that multiply, and so must have the body's type; a matrix product in FP32 would be as dear as any other."""


@dataclass(frozen=True)
class Convolutions:
    """How many convolutions a network has."""

    total: int
    int8: int
    """Of these, how many take both their input and their weights from int8."""
    fp32: int = 0
    """Number of these that compute in FP32; all of them in an FP32 file."""


def check_interface(network: INetworkDefinition, onnx: Path) -> tuple[int, ...]:
    """Shape of the one input, -1 where it is open, after comparing the names that all consumers rely on.

    Raises:
        BadInput: other inputs or outputs, or none: a file of no content parses without an error.
    """
    if network.num_layers == 0:
        do = "give an ONNX model; export it again if it was one"
        raise BadInput(f"{onnx} holds no network", "0 layers: it is empty, or no ONNX file", do)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    names = ([tensor.name for tensor in inputs], [tensor.name for tensor in outputs])
    if names != ([INPUT], [OUTPUT]):
        seen = f"inputs {', '.join(names[0]) or 'none'}, outputs {', '.join(names[1]) or 'none'}"
        raise BadInput(f"{onnx} is not a pose network", seen, f"name its one input {INPUT}, its one output {OUTPUT}")
    return tuple(inputs[0].shape)


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


def layers_of(network: INetworkDefinition) -> list[ILayer]:
    """All of a network's layers."""
    return [network.get_layer(index) for index in range(network.num_layers)]


def count_types(layers: list[ILayer]) -> dict[str, dict[str, int]]:
    """Kind of layer → type of what it gives → how many."""
    counts: dict[str, dict[str, int]] = {}
    for layer in layers:
        for output in range(layer.num_outputs):
            of_kind = counts.setdefault(layer.type.name, {})
            kind = layer.get_output(output).dtype.name
            of_kind[kind] = of_kind.get(kind, 0) + 1
    return counts


def count_convolutions(layers: list[ILayer]) -> Convolutions:
    """All, and those in int8. Weights are an input of a convolution only where a layer makes them."""
    made_by = {layer.get_output(index).name: layer for layer in layers for index in range(layer.num_outputs)}

    def from_int8(tensor: ITensor | None) -> bool:
        source = made_by.get(tensor.name) if tensor is not None else None
        if source is None or source.type.name != "DEQUANTIZE":
            return False
        quantised = source.get_input(0)
        return quantised is not None and quantised.dtype.name == "INT8"

    found = [layer for layer in layers if layer.type.name == "CONVOLUTION"]
    in_int8 = [y for y in found if y.num_inputs > 1 and from_int8(y.get_input(0)) and from_int8(y.get_input(1))]
    in_fp32 = [y for y in found if y.get_output(0).dtype.name == "FLOAT"]
    return Convolutions(len(found), len(in_int8), len(in_fp32))


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


def check_layers(
    layer_types: dict[str, dict[str, int]],
    convolutions: Convolutions,
    path: Path,
    precision: str,
    in_fp32: int = 0,
) -> None:
    """Check that all that multiplies has the precision's type, that softmax and sums are FP32, and that INT8 is INT8.

    Args:
        layer_types: kind of layer → type → how many.
        convolutions: of the network.
        path: of the ONNX file, for messages.
        precision: of the file.
        in_fp32: how many convolutions its plan keeps in FP32.

    Raises:
        BadInput: nothing convolves: it is no pose network, and has no precision.
        CheckFailed: the file does not keep what its types say.
    """
    if convolutions.total == 0:
        seen = ", ".join(sorted(layer_types))
        raise BadInput(f"{path} is not a pose network: it has no convolution", seen, "give an exported ONNX file")
    wanted = dict.fromkeys(WEIGHTED, BODY_TYPE[precision]) | {"SOFTMAX": "FLOAT", "REDUCE": "FLOAT"}
    if precision == "int8":
        wanted["QUANTIZE"] = "INT8"
    for layer, kind in wanted.items():
        planned = {"FLOAT"} if layer == "CONVOLUTION" and in_fp32 else set()
        if not layer_types.get(layer, {}).keys() <= {kind} | planned:
            do = "export the model again; its precision lies in its types"
            if precision == "int8" and kind == "HALF":
                do = "int8 here has FP16 around it: scales, biases and all that is not quantised must be float16"
            seen = ", ".join(f"{count} {name}" for name, count in layer_types[layer].items())
            raise CheckFailed(f"{path} says {precision} and has {layer} layers that are not {kind}", seen, do)
    if precision != "fp32" and convolutions.fp32 != in_fp32:
        seen = f"{convolutions.fp32} of {convolutions.total} convolutions in FP32, planned: {in_fp32}"
        raise CheckFailed(f"{path} is not what its precision plan says", seen, "export the model again")
    if precision == "int8" and convolutions.int8 == 0:
        seen = f"of {convolutions.total} convolutions none has both its input and its weights in int8"
        do = "put quantise and dequantise nodes on both inputs of the convolutions, or ask for fp16"
        raise CheckFailed(f"{path} says int8 and convolves in something else", seen, do)


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
