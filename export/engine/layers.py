"""In which types a built engine computes, by the account of its own inspector.

The network that a builder is given is strongly typed, and that is proven before building. What the builder made of
it can only be asked of the engine, which needs a GPU. An inspector that says nothing proves nothing and breaks no
promise; one that names a type which the plan excludes breaks it.

Fields as NVIDIA documents them: ``Layers`` with ``LayerType``, ``Inputs`` and ``Outputs``; a tensor's type stands in
``Format/Datatype`` up to TensorRT 10, in ``DataType`` since 11. No GPU has run this yet.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.common.errors import BadInput, CheckFailed, Inconclusive
from export.runtime.engine_network import Convolutions
from export.runtime.tensorrt_api import ICudaEngine, TensorRT

NAMES = (("bf16", ("bf16", "bfloat16")), ("fp16", ("fp16", "half")), ("fp8", ("fp8",)), ("int8", ("int8",)))
"""What a type is called, by a layer or in the description of a format; looked for in this order, without case."""
FP32 = ("fp32", "float")

FOREIGN = {"fp32": {"bf16", "fp16", "fp8", "int8"}, "fp16": {"bf16", "fp8", "int8"}, "bf16": {"fp16", "fp8", "int8"}}
"""Precision → types that no layer may touch. Beside int8, the rest of a network may be of any type."""

WEIGHTED = ("conv", "gemm")
"""What the names of layers that hold the body's weights contain, in small letters."""


@dataclass(frozen=True)
class EngineLayers:
    """What the inspector told."""

    layers: int
    types: dict[str, dict[str, int]]
    """Kind of layer → types of its inputs and outputs, as ``fp16`` or ``fp32+int8`` → how many."""
    problems: tuple[str, ...]
    """How the engine breaks the plan's promise."""

    @property
    def told(self) -> bool:
        """Whether the inspector named any type: without one nothing is proven."""
        return bool(self.types)


def inspect_engine(
    trt: TensorRT, engine: ICudaEngine, precision: str, *, tf32: bool, convolutions: Convolutions
) -> EngineLayers:
    """Ask a loaded engine what its layers compute in, and compare with what was asked for."""
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return read_layers(text, precision, tf32=tf32, convolutions=convolutions)


def require_kept(path: Path, layers: EngineLayers) -> None:
    """Refuse an engine that is known to compute in other types than was asked for.

    Raises:
        CheckFailed: the inspector named such a layer.
    """
    if layers.problems:
        more = f"; and {len(layers.problems) - 5} more" if len(layers.problems) > 5 else ""
        do = "do not ship it; build it again, with another version of the builder if it persists"
        raise CheckFailed(f"{path} does not keep its precision", "; ".join(layers.problems[:5]) + more, do)


def prove_layers(path: Path, precision: str, *, tf32: bool, convolutions: Convolutions) -> EngineLayers:
    """What ``trtexec --exportLayerInfo`` wrote of an engine, which keeps its precision.

    Raises:
        BadInput: the file cannot be read.
        CheckFailed: the engine computes in other types.
        Inconclusive: the file names no types.
    """
    try:
        layers = read_layers(path.read_text(encoding="utf-8"), precision, tf32=tf32, convolutions=convolutions)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}", str(error), "build the engine again, by recipe.md") from error
    require_kept(path, layers)
    if not layers.told:
        do = "build the engine with --profilingVerbosity=detailed"
        raise Inconclusive(f"{path} does not tell what its layers compute in", f"{layers.layers} layers, no types", do)
    return layers


def read_layers(text: str, precision: str, *, tf32: bool, convolutions: Convolutions) -> EngineLayers:
    """The inspector's JSON, judged for an engine of a network with these ``convolutions`` in ``precision``.

    An engine that was built without details lists names only; an inspector without an engine says nothing at all.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = {}
    layers = found.get("Layers", []) if isinstance(found, dict) else []
    detailed = [layer for layer in layers if isinstance(layer, dict)]
    counts: dict[str, Counter[str]] = {}
    for layer in detailed:
        if kinds := _types(layer):
            counts.setdefault(str(layer.get("LayerType", "unknown")), Counter())["+".join(sorted(kinds))] += 1
    types = {kind: dict(of) for kind, of in sorted(counts.items())}
    return EngineLayers(len(layers), types, tuple(_problems(detailed, precision, convolutions, tf32=tf32)))


def _problems(layers: list[dict[str, Any]], precision: str, convolutions: Convolutions, *, tf32: bool) -> Iterator[str]:
    typed = [(layer, kinds) for layer in layers if (kinds := _types(layer))]
    for layer, kinds in typed:
        if foreign := kinds & FOREIGN.get(precision, set()):
            yield f"{layer.get('Name')} computes in {', '.join(sorted(foreign))}"
        if not tf32 and "tf32" in str(layer.get("TacticName", "")).lower():
            yield f"{layer.get('Name')} multiplies in TF32"
    if not typed or precision == "fp32":
        return
    if not any(precision in kinds for _, kinds in typed):
        yield f"no layer computes in {precision}"
    weighted = [(layer, kinds) for layer, kinds in typed if _is_weighted(layer)]
    if precision == "int8":
        yield from _unquantised([layer for layer, _ in weighted], convolutions)
        return
    others = [str(layer.get("Name")) for layer, kinds in weighted if precision not in kinds]
    if len(others) > convolutions.fp32:  # a builder may fuse layers, but splits none
        planned = f"; its plan keeps {convolutions.fp32} in FP32" if convolutions.fp32 else ""
        yield f"{', '.join(others[:5])} does not compute in {precision}{planned}"


def _unquantised(weighted: list[dict[str, Any]], convolutions: Convolutions) -> Iterator[str]:
    """Convolutions of an int8 network that the builder has not put into int8; it may fuse layers, but splits none."""
    others = [layer for layer in weighted if "int8" not in _types(layer, sides=("Inputs",))]
    if weighted and len(others) == len(weighted):
        yield f"no convolution takes int8; the network has {convolutions.int8}"
    elif len(others) > (meant := convolutions.total - convolutions.int8):
        names = ", ".join(str(layer.get("Name")) for layer in others[:5])
        yield f"{len(others)} convolutions do not take int8, and the network has {meant} such; among them {names}"


def _is_weighted(layer: Mapping[str, Any]) -> bool:
    return any(word in str(layer.get("LayerType", "")).lower() for word in WEIGHTED)


def _types(layer: Mapping[str, Any], sides: tuple[str, ...] = ("Inputs", "Outputs")) -> set[str]:
    """Types of a layer's floating and int8 inputs and outputs."""
    tensors = [tensor for side in sides for tensor in layer.get(side) or () if isinstance(tensor, dict)]
    return {kind for tensor in tensors if (kind := _type(tensor)) is not None}


def _type(tensor: Mapping[str, Any]) -> str | None:
    told = tensor.get("DataType") or tensor.get("Format/Datatype") or ""
    words = str(told).lower()
    for kind, names in (*NAMES, ("fp32", FP32)):
        if any(name in words for name in names):
            return kind
    return None
