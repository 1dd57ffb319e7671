"""Which part of the network a runtime's layer belongs to, by its name alone; and what each part has to compute.

Runtimes rename layers, fuse several into one and put layers of their own between them. Seen:

* ONNX Runtime: ``decode/Softmax``, ``conv2d_1_nchwc``, ``ReorderOutput_token_230``, ``Max_101``; where a name is made
  of a tensor's, ``bench.sessions.onnx_profile`` says which node the tensor comes from.
* OpenVINO: ``backbone.stages.0.0.dwconv/Conv/WithoutBiases``; reorders are called by both of their neighbours.
* TensorRT: names joined with ``+``; what its own compiler makes (``__myl_…``) tells its nodes to the inspector only.
"""

import re
from collections.abc import Iterable, Sequence

from export.common.interface import OUTPUT
from export.model.architecture import Layer

STAGES = tuple(f"stage {index}" for index in range(4))
STEM, HEAD, FINAL, DECODE, OTHER = "stem", "head", "final layer", "decode", "other"
PARTS = (STEM, *STAGES, HEAD, FINAL, DECODE, OTHER)
"""In the order of the data. A stage has the downsampling before it, the last one the norm behind it; the head has all
upsamplings, that of the logits too. ``other``: what belongs to no part, or to several."""

_PATH = re.compile(
    r"backbone\.(?:downsample_layers|stages)\.(?P<stage>[0-3])(?!\d)|(?P<norm>backbone\.norm)"
    r"|(?P<final>head\.final_layer)|(?P<head>head\.(?:deconv_layers_\d|logit_upsample))"
    r"|(?<![A-Za-z])(?P<decode>decode)(?=[/.]|$)|(?<![A-Za-z])(?P<entry>entry)(?=[/.]|$)"
)
_STEM = re.compile(r"backbone\.downsample_layers\.0(?!\d)")
_CASTS = re.compile(r"head\.logit_upsample(?:\.\d)?/(?:Cast|Convert)")
_CONVOLUTION = re.compile(r"/Conv(?![A-Za-z])")
_JOINT = re.compile(r"\s*(?:\+|,|\x1e)\s*")


def part_of(name: str) -> str | None:
    """The part that a layer of this name, or of these names, belongs to; None if nothing of the network is named.

    Names may be joined by ``+`` or commas, as runtimes do with what they fuse. Where parts meet in one layer, it is
    that of its convolution: what else is fused to one costs next to nothing. If that does not decide, it is ``other``.
    """
    found = [(piece, parts) for piece in _JOINT.split(name) if (parts := _parts_in(piece))]
    everything = set().union(*(parts for _, parts in found))
    if len(everything) > 1:
        main = [parts for piece, parts in found if len(parts) == 1 and _CONVOLUTION.search(piece)]
        if len({*map(frozenset, main)}) != 1:
            return OTHER
        everything = main[0]
    return everything.pop() if everything else None


def attribute(layers: Sequence[tuple[str, str]]) -> list[str]:
    """The part of each of ``(name, origin)``, given in the order in which they ran.

    The name decides, then what it was made from. A layer of which neither says anything, such as a reorder, belongs to
    the part that it stands in, if the nearest layers with a part before and behind it agree.
    """
    parts = [part_of(name) or part_of(origin) for name, origin in layers]
    before, behind = _carried(parts), _carried(parts[::-1])[::-1]
    return [p or (a if a is not None and a == b else OTHER) for p, a, b in zip(parts, before, behind, strict=True)]


def macs_of_parts(layers: Iterable[Layer]) -> dict[str, int]:
    """Multiply-accumulates of each part for one image; their sum is that of the layers.

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
    if piece == OUTPUT:  # OpenVINO calls the last node by the output's name
        return {DECODE}
    if _CASTS.search(piece):
        return {OTHER}
    return {_part(match) for match in _PATH.finditer(piece)}


def _part(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind == "stage":
        return STEM if _STEM.match(match[0]) else STAGES[int(match["stage"])]
    return {"norm": STAGES[-1], "final": FINAL, "head": HEAD, "decode": DECODE, "entry": OTHER}[str(kind)]


def _carried(parts: Sequence[str | None]) -> list[str | None]:
    """For each place the last part of the network that was named until there."""
    carried, last = [], None
    for part in parts:
        last = last if part in (None, OTHER) else part
        carried.append(last)
    return carried
