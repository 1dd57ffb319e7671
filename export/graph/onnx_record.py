"""Description of an exported ONNX file: its content, and the proofs of its types and weights.

This module imports neither torch nor onnx, so that an export that is up to date stays fast.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class TensorSpec:
    """An input or output; a free dimension is a name."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class TypeProof:
    """Types in a graph."""

    operators: dict[str, dict[str, int]]
    """Operator → output type → count."""
    casts: dict[str, int]
    initializer_share: float
    """Size of the weights, as a share of their size in FP32."""


@dataclass(frozen=True)
class Int8Proof:
    """Result of comparing an INT8 file with its FP16 file and its plan."""

    compared: str
    convolutions_int8: int
    """Convolutions with input and weights dequantized from int8 by the plan's scales."""
    convolutions_fp16: int


@dataclass(frozen=True)
class OnnxRecord:
    """Description of an exported file."""

    opset: int
    ir_version: int
    nodes: dict[str, int]
    initializer_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    types: TypeProof
    weights: str
    """The comparison of the file's weights with the network's."""
    int8: Int8Proof | None = None
    """The proof of its quantized convolutions; only for INT8."""
