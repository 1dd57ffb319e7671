"""Parts of the network: the part of a runtime's layer, by its name alone, and the work of each part.

Runtimes rename layers, fuse several into one and put layers of their own between them. Names that they give:

* ONNX Runtime: ``decode/Softmax``, ``conv2d_1_nchwc``, ``ReorderOutput_token_230``, ``Max_101``;
  ``bench.sessions.onnx_profile`` finds the node behind a tensor's name.
* OpenVINO: ``backbone.stages.0.0.dwconv/Conv/WithoutBiases``; reorders have both neighbours' names.
* TensorRT: names joined with ``+``; only the inspector knows the nodes of its own compiler's layers (``__myl_…``).
"""

import re
from collections.abc import Iterable, Sequence

from export.common.interface import OUTPUT
from export.model.architecture import Layer

STAGES = tuple(f"stage {index}" for index in range(4))
STEM, HEAD, FINAL, DECODE, OTHER = "stem", "head", "final layer", "decode", "other"
PARTS = (STEM, *STAGES, HEAD, FINAL, DECODE, OTHER)
"""In the order of the data. A stage includes the downsampling before it, the last one the norm behind it; the decode
includes the upsampling of logits. ``other``: layers of no part, or of several."""

_PATH = re.compile(
    r"backbone\.(?:downsample_layers|stages)\.(?P<stage>[0-3])(?!\d)|(?P<norm>backbone\.norm)"
    r"|(?P<final>head\.final_layer)|(?P<head>head\.deconv_layers_\d)"
    r"|(?<![A-Za-z])(?P<decode>decode)(?=[/.]|$)|(?<![A-Za-z])(?P<entry>entry)(?=[/.]|$)"
)
_STEM = re.compile(r"backbone\.downsample_layers\.0(?!\d)")
_CONVOLUTION = re.compile(r"/Conv(?![A-Za-z])")
_JOINT = re.compile(r"\s*(?:\+|,|\x1e)\s*")


def part_of(name: str) -> str | None:
    """Return the part of a layer with this name; None if the name has nothing of the network.

    Runtimes join the names of layers that they fuse by ``+`` or commas. A layer of several parts belongs to that of
    its convolution, since other operators fused to one cost next to nothing; without a single one it is ``other``.
    """
    pieces = [(piece, parts) for piece in _JOINT.split(name) if (parts := _parts_in(piece))]
    candidates = set().union(*(parts for _, parts in pieces))
    if len(candidates) > 1:
        convolved = [parts for piece, parts in pieces if len(parts) == 1 and _CONVOLUTION.search(piece)]
        candidates = set().union(*convolved)
        if len(candidates) != 1:
            return OTHER
    return candidates.pop() if candidates else None


def attribute(layers: Sequence[tuple[str, str]]) -> list[str]:
    """Return the part of each ``(name, origin)``, in the order of execution.

    The name decides, then the origin. A layer without either, such as a reorder, belongs to the part around it, if the
    nearest layers with a part before and behind it agree.
    """
    parts = [part_of(name) or part_of(origin) for name, origin in layers]
    before, behind = _carried(parts), _carried(parts[::-1])[::-1]
    return [p or (a if a is not None and a == b else OTHER) for p, a, b in zip(parts, before, behind, strict=True)]


def macs_of_parts(layers: Iterable[Layer]) -> dict[str, int]:
    """Return the multiply-accumulates of each part for one image.

    Raises:
        ValueError: a layer belongs to no part.
    """
    macs = dict.fromkeys(PARTS, 0)
    for layer in layers:
        part = part_of(layer.name)
        if part is None:
            raise ValueError(f"{layer.name} belongs to no part of the network")
        macs[part] += layer.macs
    return macs


def _parts_in(piece: str) -> set[str]:
    if piece == OUTPUT:  # OpenVINO gives the last node the output's name
        return {DECODE}
    return {_part(match) for match in _PATH.finditer(piece)}


def _part(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind == "stage":
        return STEM if _STEM.match(match[0]) else STAGES[int(match["stage"])]
    return {"norm": STAGES[-1], "final": FINAL, "head": HEAD, "decode": DECODE, "entry": OTHER}[str(kind)]


def _carried(parts: Sequence[str | None]) -> list[str | None]:
    """Return for each layer the last known part up to it."""
    carried, last = [], None
    for part in parts:
        last = last if part in (None, OTHER) else part
        carried.append(last)
    return carried
