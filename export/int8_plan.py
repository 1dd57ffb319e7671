"""Which convolutions compute in int8, why, and with which scales."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import nn

from export.errors import BadInput
from export.network import Block, ConvNeXtPose, HeadLayer

SCHEMA_VERSION = "1.0"
KEPT = "kept out by the search: "


@dataclass(frozen=True)
class PlacedConv:
    """One convolution of the deploy graph."""

    name: str
    """Of the module, which is the stem of the node's name."""
    kind: str
    quantised: bool
    reason: str
    activation_scale: float | None = None
    """What one step of the int8 input is worth; None before calibration, and where nothing is quantised."""
    drift_alone_mm: float | None = None
    """Mean drift on calibration images when this convolution alone is quantised; None if not measured."""


@dataclass(frozen=True)
class Int8Plan:
    """Every convolution, in the order of the data, and what the scales were taken from."""

    convs: tuple[PlacedConv, ...]
    calibration: dict[str, Any]
    drift_mm: float | None = None
    """Mean drift of the simulated network on the calibration images."""
    search: tuple[str, ...] = ()
    """What the search did, a line a step."""
    schema_version: str = SCHEMA_VERSION

    @property
    def quantised(self) -> tuple[PlacedConv, ...]:
        """The convolutions in int8."""
        return tuple(conv for conv in self.convs if conv.quantised)

    def keeping(self, names: Iterable[str], reason: str) -> "Int8Plan":
        """The same plan with these convolutions in higher precision."""
        out = set(names)
        convs = [replace(c, quantised=False, reason=KEPT + reason) if c.name in out else c for c in self.convs]
        return replace(self, convs=tuple(convs))

    def as_json(self) -> dict[str, Any]:
        """Plain data; ``read_plan`` reads it."""
        return asdict(self)


def place(network: ConvNeXtPose) -> tuple[PlacedConv, ...]:
    """The rule, before any measurement: pointwise and downsampling convolutions in, all else out.

    Where a block adds its input, the sum and both its inputs stay in higher precision: the sum feeds a depthwise
    convolution and the next sum, neither of which is quantised, so that rounding it would cost and gain nothing;
    and a convolution whose result is not requantised can be fused with a sum of the same type.
    """
    placed = []
    names = {module: name for name, module in network.named_modules()}
    stem, *downsamplings = network.backbone.downsamplings
    kinds: dict[nn.Module, tuple[str, bool, str]] = {
        _conv(stem): ("stem", False, "pixels of a large range, three input channels: little to gain, all follows it")
    }
    for downsampling in downsamplings:
        kinds[_conv(downsampling)] = "downsampling", True, "a dense convolution: int8 multiplies pay"
    layers: list[Block | HeadLayer] = [*network.backbone.blocks, *network.head.layers]
    for layer in layers:
        kinds[layer.dwconv] = "depthwise", False, "one input channel a group: TensorRT wants multiples of four for int8"
        pointwise = (layer.pwconv1, layer.pwconv2) if isinstance(layer, Block) else (layer.pwconv,)
        for conv in pointwise:
            kinds[conv] = "pointwise", True, "most of the multiplies"
    kinds[network.head.final_layer] = "final", False, "its error is an error of the logits, which decide the joints"
    for module, name in names.items():
        if isinstance(module, nn.Conv2d):
            kind, quantised, reason = kinds[module]
            placed.append(PlacedConv(name, kind, quantised, reason))
    return tuple(placed)


def read_plan(path: Path, network: ConvNeXtPose) -> Int8Plan:
    """A plan that an earlier run wrote, perhaps edited.

    Raises:
        BadInput: not a plan, of another schema version, for another network, or without a usable scale.
    """
    do = "take int8-plan.json of an earlier export of the same architecture"
    try:
        plan = TypeAdapter(Int8Plan).validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"cannot read the int8 plan {path}", error.strerror or str(error), do) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        seen = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
        raise BadInput(f"{path} is no int8 plan", seen, do) from error
    if plan.schema_version != SCHEMA_VERSION:
        raise BadInput(f"{path} is no int8 plan of schema {SCHEMA_VERSION}", plan.schema_version, do)
    ours, theirs = {conv.name for conv in place(network)}, {conv.name for conv in plan.convs}
    if ours != theirs or len(plan.convs) != len(theirs):
        differing = sorted(ours ^ theirs)
        raise BadInput(f"{path} is for another network", f"convolutions: {', '.join(differing[:4]) or 'twice'}", do)
    for conv in plan.quantised:
        if conv.activation_scale is None or not 0 < conv.activation_scale < float("inf"):
            raise BadInput(f"{path} has no usable scale", f"{conv.name}: {conv.activation_scale}", do)
    return plan


def _conv(layers: nn.Sequential) -> nn.Conv2d:
    (conv,) = (layer for layer in layers if isinstance(layer, nn.Conv2d))
    return conv
