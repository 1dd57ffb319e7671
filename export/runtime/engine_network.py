"""Proof, from the parsed network, that an engine computes in the precision of its ONNX file.

Networks are strongly typed: the engine computes in the types of their tensors. A convolution is in int8 only if both
its input and its weights come from int8; the builder fuses it with their dequantization.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import BadInput, CheckFailed
from .session import INPUT, OUTPUT

if TYPE_CHECKING:
    from .tensorrt_api import ILayer, INetworkDefinition, ITensor

BODY_TYPE = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16", "int8": "HALF"}
"""Precision → TensorRT's name for the type of its convolutions."""

BODY = ("CONVOLUTION", "DECONVOLUTION", "EINSUM")
"""Kinds of layers that multiply in the body, and so must have its type."""
DECODE = ("SOFTMAX", "MATRIX_MULTIPLY", "REDUCE")
"""Kinds of layers of the decode, which must be FP32."""


@dataclass(frozen=True)
class Convolutions:
    """Numbers of convolutions of a network."""

    total: int
    int8: int
    """Those that take both their input and their weights from int8."""
    fp32: int = 0
    """Those that compute in FP32; in an FP32 file all."""


def check_interface(network: INetworkDefinition, name: str) -> tuple[int, ...]:
    """Return the shape of the one input, -1 where it is open, after checking the names of input and output.

    Raises:
        BadInput: other inputs or outputs, or none: an empty file parses without an error.
    """
    if network.num_layers == 0:
        advice = "give an ONNX model; export it again if it was one"
        raise BadInput(f"{name} holds no network", "0 layers: it is empty, or no ONNX file", advice)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    names = ([tensor.name for tensor in inputs], [tensor.name for tensor in outputs])
    if names != ([INPUT], [OUTPUT]):
        detail = f"inputs {', '.join(names[0]) or 'none'}, outputs {', '.join(names[1]) or 'none'}"
        raise BadInput(f"{name} is not a pose network", detail, f"name its one input {INPUT}, its one output {OUTPUT}")
    return tuple(inputs[0].shape)


def check_types(
    network: INetworkDefinition, name: str, precision: str, planned_fp32: int
) -> tuple[dict[str, dict[str, int]], Convolutions]:
    """Return the types of a network's layers and its convolutions, after checking that they keep the precision.

    Raises:
        BadInput: the network has no convolution.
        CheckFailed: a layer has another type than the precision says.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    layer_types, convolutions = count_types(layers), count_convolutions(layers)
    check_layers(layer_types, convolutions, name, precision, planned_fp32)
    return layer_types, convolutions


def count_types(layers: list[ILayer]) -> dict[str, dict[str, int]]:
    """Count layers: kind of layer → type of its output → number."""
    counts: dict[str, dict[str, int]] = {}
    for layer in layers:
        for output in range(layer.num_outputs):
            types = counts.setdefault(layer.type.name, {})
            kind = layer.get_output(output).dtype.name
            types[kind] = types.get(kind, 0) + 1
    return counts


def count_convolutions(layers: list[ILayer]) -> Convolutions:
    """Count all convolutions, those in int8 and those in FP32."""
    sources = {layer.get_output(index).name: layer for layer in layers for index in range(layer.num_outputs)}

    def from_int8(tensor: ITensor | None) -> bool:
        source = sources.get(tensor.name) if tensor is not None else None
        if source is None or source.type.name != "DEQUANTIZE":
            return False
        quantized = source.get_input(0)
        return quantized is not None and quantized.dtype.name == "INT8"

    convolutions = [layer for layer in layers if layer.type.name == "CONVOLUTION"]
    # Weights are an input only where a layer makes them.
    in_int8 = [y for y in convolutions if y.num_inputs > 1 and from_int8(y.get_input(0)) and from_int8(y.get_input(1))]
    in_fp32 = [y for y in convolutions if y.get_output(0).dtype.name == "FLOAT"]
    return Convolutions(len(convolutions), len(in_int8), len(in_fp32))


def check_layers(
    layer_types: dict[str, dict[str, int]],
    convolutions: Convolutions,
    name: str,
    precision: str,
    planned_fp32: int = 0,
) -> None:
    """Check that convolutions have the precision's type, the decode's layers FP32, and that INT8 is INT8.

    Raises:
        BadInput: the network has no convolution.
        CheckFailed: a layer has another type than the precision says.
    """
    if convolutions.total == 0:
        kinds = ", ".join(sorted(layer_types))
        raise BadInput(f"{name} is not a pose network: it has no convolution", kinds, "give an exported ONNX file")
    expected = {**dict.fromkeys(BODY, BODY_TYPE[precision]), **dict.fromkeys(DECODE, "FLOAT")}
    if precision == "int8":
        expected["QUANTIZE"] = "INT8"
    for layer, kind in expected.items():
        planned = {"FLOAT"} if layer == "CONVOLUTION" and planned_fp32 else set()
        if not layer_types.get(layer, {}).keys() <= {kind} | planned:
            advice = "export the model again; its precision lies in its types"
            if precision == "int8" and kind == "HALF":
                advice = "int8 here has FP16 around it: scales, biases and all that is not quantized must be float16"
            types = ", ".join(f"{count} {other}" for other, count in layer_types[layer].items())
            raise CheckFailed(f"{name} says {precision} and has {layer} layers that are not {kind}", types, advice)
    if precision != "fp32" and convolutions.fp32 != planned_fp32:
        detail = f"{convolutions.fp32} of {convolutions.total} convolutions in FP32, planned: {planned_fp32}"
        raise CheckFailed(f"{name} differs from its precision plan", detail, "export the model again")
    if precision == "int8" and convolutions.int8 == 0:
        detail = f"of {convolutions.total} convolutions none has both its input and its weights in int8"
        advice = "put quantize and dequantize nodes on both inputs of the convolutions, or ask for fp16"
        raise CheckFailed(f"{name} says int8 and convolves in another type", detail, advice)
