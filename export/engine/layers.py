"""Proof, from a built engine's inspector, that its layers compute in the types of the plan.

The builder gets a strongly typed network, which is proven before the build. The types of the engine itself can only be
read on a GPU. An inspector without types proves nothing and is no failure; a type that the plan excludes is a failure.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.common.errors import BadInput, CheckFailed, Inconclusive
from export.runtime.engine_network import Convolutions
from export.runtime.inspector import inspector_layers, tensor_type
from export.runtime.tensorrt_api import ICudaEngine, TensorRT

NAMES = {
    "bf16": ("bf16", "bfloat16"),
    "fp16": ("fp16", "half"),
    "fp8": ("fp8",),
    "int8": ("int8",),
    "fp32": ("fp32", "float"),
}
"""Type → its names in the inspector's descriptions, in lower case; looked for in this order."""

EXCLUDED = {"fp32": {"bf16", "fp16", "fp8", "int8"}, "fp16": {"bf16", "fp8", "int8"}, "bf16": {"fp16", "fp8", "int8"}}
"""Precision → types that no layer may use. Around int8, the rest of a network may have any type."""

WEIGHTED = ("conv", "gemm")
"""Parts of the names of layers that hold the body's weights, in lower case."""
DECODE = "decode/"
"""Part of the names of the decode's nodes."""

MOST_NAMED = 5
"""Number of layers that a message names."""


@dataclass(frozen=True)
class EngineLayers:
    """Layers of an engine, from its inspector."""

    layers: int
    types: dict[str, dict[str, int]]
    """Kind of layer → types of its inputs and outputs, as ``fp16`` or ``fp32+int8`` → number of layers."""
    problems: tuple[str, ...]
    """Layers that break the plan's promise."""

    @property
    def has_types(self) -> bool:
        """True: the inspector gave types; False: nothing is proven."""
        return bool(self.types)


def inspect_engine(
    trt: TensorRT, engine: ICudaEngine, precision: str, *, tf32: bool, convolutions: Convolutions
) -> EngineLayers:
    """Compare the types of a loaded engine's layers with the plan."""
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return read_layers(text, precision, tf32=tf32, convolutions=convolutions)


def require_precision(path: Path, layers: EngineLayers) -> None:
    """Refuse an engine whose inspector names a layer of another type than planned.

    Raises:
        CheckFailed: the inspector named such a layer.
    """
    if layers.problems:
        more = f"; and {len(layers.problems) - MOST_NAMED} more" if len(layers.problems) > MOST_NAMED else ""
        advice = "do not ship it; build it again, with another version of the builder if it persists"
        raise CheckFailed(f"{path} does not keep its precision", "; ".join(layers.problems[:MOST_NAMED]) + more, advice)


def prove_layers(path: Path, precision: str, *, tf32: bool, convolutions: Convolutions) -> EngineLayers:
    """Return the layers of an engine from the file of ``trtexec --exportLayerInfo``, if they keep the precision.

    Raises:
        BadInput: the file cannot be read.
        CheckFailed: the engine computes in other types.
        Inconclusive: the file names no types.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}", str(error), "build the engine again, by recipe.md") from error
    layers = read_layers(text, precision, tf32=tf32, convolutions=convolutions)
    require_precision(path, layers)
    if not layers.has_types:
        advice = "build the engine with --profilingVerbosity=detailed"
        raise Inconclusive(f"{path} does not give the types of layers", f"{layers.layers} layers, no types", advice)
    return layers


def read_layers(text: str, precision: str, *, tf32: bool, convolutions: Convolutions) -> EngineLayers:
    """Compare the inspector's JSON with a plan.

    Args:
        text: the JSON; of an engine that was built without details it lists names only.
        precision: of the plan.
        tf32: whether FP32 may be multiplied in TF32.
        convolutions: of the network that the builder got.
    """
    layers = inspector_layers(text)
    detailed = [layer for layer in layers if isinstance(layer, dict)]
    types: dict[str, Counter[str]] = {}
    for layer in detailed:
        if kinds := _types(layer):
            types.setdefault(str(layer.get("LayerType", "unknown")), Counter())["+".join(sorted(kinds))] += 1
    counts = {kind: dict(counter) for kind, counter in sorted(types.items())}
    return EngineLayers(len(layers), counts, tuple(_problems(detailed, precision, convolutions, tf32=tf32)))


def _problems(layers: list[dict[str, Any]], precision: str, convolutions: Convolutions, *, tf32: bool) -> Iterator[str]:
    typed = [(layer, kinds) for layer in layers if (kinds := _types(layer))]
    for layer, kinds in typed:
        if excluded := kinds & EXCLUDED.get(precision, set()):
            yield f"{layer.get('Name')} computes in {', '.join(sorted(excluded))}"
        if not tf32 and "tf32" in str(layer.get("TacticName", "")).lower():
            yield f"{layer.get('Name')} multiplies in TF32"
    if not typed or precision == "fp32":
        return
    if not any(precision in kinds for _, kinds in typed):
        yield f"no layer computes in {precision}"
    weighted = [(layer, kinds) for layer, kinds in typed if _is_weighted(layer)]
    if precision == "int8":
        yield from _unquantized([layer for layer, _ in weighted], convolutions)
        return
    names = [str(layer.get("Name")) for layer, kinds in weighted if precision not in kinds]
    if len(names) > convolutions.fp32:  # a builder may fuse layers, but splits none
        planned = f"; its plan keeps {convolutions.fp32} in FP32" if convolutions.fp32 else ""
        yield f"{', '.join(names[:MOST_NAMED])} does not compute in {precision}{planned}"


def _unquantized(weighted: list[dict[str, Any]], convolutions: Convolutions) -> Iterator[str]:
    """Yield a problem where the builder left more convolutions out of int8 than the network has there."""
    names = [str(layer.get("Name")) for layer in weighted if "int8" not in _types(layer, sides=("Inputs",))]
    planned = convolutions.total - convolutions.int8
    if weighted and len(names) == len(weighted):
        yield f"no convolution takes int8; the network has {convolutions.int8}"
    elif len(names) > planned:  # a builder may fuse layers, but splits none
        first = ", ".join(names[:MOST_NAMED])
        yield f"{len(names)} convolutions do not take int8, and the network has {planned} such; among them {first}"


def _is_weighted(layer: Mapping[str, Any]) -> bool:
    """Return whether a layer holds weights of the body; the decode's products are FP32 in every precision."""
    origin = f"{layer.get('Name')} {layer.get('Metadata')}"
    of_decode = DECODE in origin and "/Conv" not in origin  # the last convolution may be fused with the decode's cast
    return not of_decode and any(word in str(layer.get("LayerType", "")).lower() for word in WEIGHTED)


def _types(layer: Mapping[str, Any], sides: tuple[str, ...] = ("Inputs", "Outputs")) -> set[str]:
    """Return the types of a layer's floating and int8 inputs and outputs."""
    tensors = [tensor for side in sides for tensor in layer.get(side) or () if isinstance(tensor, dict)]
    return {kind for tensor in tensors if (kind := _type(tensor_type(tensor).lower())) is not None}


def _type(description: str) -> str | None:
    """Return the type in a description; None where it has none."""
    return next((kind for kind, names in NAMES.items() if any(name in description for name in names)), None)
