"""Proof, from the network that the parser has read, that an engine built from it computes in its precision.

Networks are strongly typed: the types of their tensors are the types that the engine computes in. What says int8 is
only int8 where a convolution takes both its input and its weights from int8, with which the builder fuses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import BadInput, CheckFailed
from .session import INPUT, OUTPUT

if TYPE_CHECKING:
    from .tensorrt_api import ILayer, INetworkDefinition, ITensor

BODY_TYPE = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16", "int8": "HALF"}
"""TensorRT's name of the type of a precision's convolutions."""

WEIGHTED = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "EINSUM")
"""Kinds of layers that multiply, and so must have the body's type; a matrix product in FP32 would cost as much."""


@dataclass(frozen=True)
class Convolutions:
    """Number of convolutions of a network."""

    total: int
    int8: int
    """Number of these that take both their input and their weights from int8."""
    fp32: int = 0
    """Number of these that compute in FP32; all of them in an FP32 file."""


def check_interface(network: INetworkDefinition, name: str) -> tuple[int, ...]:
    """Return the shape of the one input, -1 where it is open, after comparing the names that consumers rely on.

    Raises:
        BadInput: other inputs or outputs, or none: a file of no content parses without an error.
    """
    if network.num_layers == 0:
        do = "give an ONNX model; export it again if it was one"
        raise BadInput(f"{name} holds no network", "0 layers: it is empty, or no ONNX file", do)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    names = ([tensor.name for tensor in inputs], [tensor.name for tensor in outputs])
    if names != ([INPUT], [OUTPUT]):
        seen = f"inputs {', '.join(names[0]) or 'none'}, outputs {', '.join(names[1]) or 'none'}"
        raise BadInput(f"{name} is not a pose network", seen, f"name its one input {INPUT}, its one output {OUTPUT}")
    return tuple(inputs[0].shape)


def layers_of(network: INetworkDefinition) -> list[ILayer]:
    """Return all of a network's layers."""
    return [network.get_layer(index) for index in range(network.num_layers)]


def count_types(layers: list[ILayer]) -> dict[str, dict[str, int]]:
    """Count layers: kind of layer → type of what it gives → how many."""
    counts: dict[str, dict[str, int]] = {}
    for layer in layers:
        for output in range(layer.num_outputs):
            of_kind = counts.setdefault(layer.type.name, {})
            kind = layer.get_output(output).dtype.name
            of_kind[kind] = of_kind.get(kind, 0) + 1
    return counts


def count_convolutions(layers: list[ILayer]) -> Convolutions:
    """Count all convolutions, and those in int8. Weights are an input of one only where a layer makes them."""
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


def check_layers(
    layer_types: dict[str, dict[str, int]],
    convolutions: Convolutions,
    name: str,
    precision: str,
    in_fp32: int = 0,
) -> None:
    """Check that all that multiplies has the precision's type, that softmax and sums are FP32, and that INT8 is INT8.

    Args:
        layer_types: kind of layer → type → how many.
        convolutions: of the network.
        name: of the ONNX model, for messages.
        precision: of the file.
        in_fp32: how many convolutions its plan keeps in FP32.

    Raises:
        BadInput: nothing convolves: it is no pose network, and has no precision.
        CheckFailed: the file does not keep what its types say.
    """
    if convolutions.total == 0:
        seen = ", ".join(sorted(layer_types))
        raise BadInput(f"{name} is not a pose network: it has no convolution", seen, "give an exported ONNX file")
    wanted = {**dict.fromkeys(WEIGHTED, BODY_TYPE[precision]), "SOFTMAX": "FLOAT", "REDUCE": "FLOAT"}
    if precision == "int8":
        wanted["QUANTIZE"] = "INT8"
    for layer, kind in wanted.items():
        planned = {"FLOAT"} if layer == "CONVOLUTION" and in_fp32 else set()
        if not layer_types.get(layer, {}).keys() <= {kind} | planned:
            do = "export the model again; its precision lies in its types"
            if precision == "int8" and kind == "HALF":
                do = "int8 here has FP16 around it: scales, biases and all that is not quantised must be float16"
            seen = ", ".join(f"{count} {given}" for given, count in layer_types[layer].items())
            raise CheckFailed(f"{name} says {precision} and has {layer} layers that are not {kind}", seen, do)
    if precision != "fp32" and convolutions.fp32 != in_fp32:
        seen = f"{convolutions.fp32} of {convolutions.total} convolutions in FP32, planned: {in_fp32}"
        raise CheckFailed(f"{name} is not what its precision plan says", seen, "export the model again")
    if precision == "int8" and convolutions.int8 == 0:
        seen = f"of {convolutions.total} convolutions none has both its input and its weights in int8"
        do = "put quantise and dequantise nodes on both inputs of the convolutions, or ask for fp16"
        raise CheckFailed(f"{name} says int8 and convolves in something else", seen, do)
