"""How large a network's values become, and whether a precision can hold them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.common.errors import CheckFailed
from export.common.plain import finite_or_none

SCHEMA_VERSION = "2.0"
REPORTED = 8
"""How many of the largest a summary names."""


@dataclass(frozen=True)
class Ranges:
    """The largest absolute value of each layer's output over all images, and of each weight; NaN is kept as NaN.

    Layers stand in the order of the data.
    """

    limit: float
    """The largest finite value of the type."""
    images: int
    activations: Mapping[str, float]
    weights: Mapping[str, float]

    @property
    def overflowing(self) -> dict[str, float]:
        """What the type cannot hold, in the order of the data."""
        return {
            name: value
            for values in (self.activations, self.weights)
            for name, value in values.items()
            if not value <= self.limit
        }

    def as_json(self) -> dict[str, Any]:
        """Every layer, with the largest value that it gives and the largest of its weights; null is not finite."""
        layers: dict[str, dict[str, float]] = {name: {"activation": value} for name, value in self.activations.items()}
        for name, value in self.weights.items():
            layer = layers.setdefault(name.rpartition(".")[0], {})
            layer["weight"] = max(layer.get("weight", 0.0), value, key=_size)
        rows = [{"layer": name, **largest} for name, largest in layers.items()]
        return dict(finite_or_none({**self._about(), "layers": rows}))

    def summary(self) -> dict[str, Any]:
        """The largest few, largest first, as plain data; what is not finite comes first and is null."""
        few = {"activations": _largest(self.activations), "weights": _largest(self.weights)}
        return dict(finite_or_none({**self._about(), **few}))

    def _about(self) -> dict[str, Any]:
        return {"limit": self.limit, "images": self.images, "overflowing": self.overflowing}


def require_range(ranges: Mapping[str, Any], precision: str, body: str) -> None:
    """Refuse a precision in which a value does not fit.

    Args:
        ranges: as ``Ranges.summary`` gives them.
        precision: what was asked for.
        body: the half precision that its body has, which the ranges are of: around int8 it is FP16.

    Raises:
        CheckFailed: naming the first layers, in the order of the data.
    """
    overflowing = ranges.get("overflowing", {})
    if overflowing:
        shown = [f"{name}: " + ("not finite" if v is None else f"{v:.6g}") for name, v in overflowing.items()]
        more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
        seen = f"{', '.join(shown[:3])}{more}; the largest {body} is {ranges['limit']:.6g}"
        do = "ask for bf16, which has the range of fp32" if body == "fp16" else "the network itself is not sound"
        what = f"{body} cannot hold this network's values"
        if precision != body:
            what = f"{precision} cannot be had: {body}, which its graph has around the int8, cannot hold the values"
        raise CheckFailed(what, seen, do)


def _largest(values: Mapping[str, float]) -> dict[str, float]:
    ordered = sorted(values.items(), key=lambda item: _size(item[1]), reverse=True)
    return dict(ordered[:REPORTED])


def _size(value: float) -> float:
    """NaN is the largest."""
    return math.inf if math.isnan(value) else value
