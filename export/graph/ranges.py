"""Largest values of a network, and whether a precision can represent them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.common.errors import CheckFailed
from export.common.plain import finite_or_none

SCHEMA_VERSION = "2.0"
REPORTED = 8
"""Number of the largest values in a summary."""


@dataclass(frozen=True)
class Ranges:
    """Largest absolute values of each layer's output over all images, and of each weight, in data order; NaN stays."""

    limit: float
    """The largest finite value of the type."""
    images: int
    activations: Mapping[str, float]
    weights: Mapping[str, float]

    @property
    def overflowing(self) -> dict[str, float]:
        """Values that the type cannot represent, in data order."""
        return {
            name: value
            for values in (self.activations, self.weights)
            for name, value in values.items()
            if not value <= self.limit
        }

    def as_json(self) -> dict[str, Any]:
        """Return every layer with its largest output and weight; a number that is not finite is null."""
        layers: dict[str, dict[str, float]] = {name: {"activation": value} for name, value in self.activations.items()}
        for name, value in self.weights.items():
            layer = layers.setdefault(name.rpartition(".")[0], {})
            layer["weight"] = max(layer.get("weight", 0.0), value, key=_size)
        rows = [{"layer": name, **largest} for name, largest in layers.items()]
        return dict(finite_or_none({**self._about(), "layers": rows}))

    def summary(self) -> dict[str, Any]:
        """Return the largest few in descending order; a number that is not finite comes first and is null."""
        few = {"activations": _largest(self.activations), "weights": _largest(self.weights)}
        return dict(finite_or_none({**self._about(), **few}))

    def _about(self) -> dict[str, Any]:
        return {"limit": self.limit, "images": self.images, "overflowing": self.overflowing}


def require_range(ranges: Mapping[str, Any], precision: str, body: str) -> None:
    """Refuse a precision that cannot represent a value.

    Args:
        ranges: ``Ranges.summary`` for the body's type.
        precision: the requested precision.
        body: the half precision of its body, FP16 for INT8.

    Raises:
        CheckFailed: values overflow; the message names the first layers in data order.
    """
    overflowing = ranges.get("overflowing", {})
    if overflowing:
        values = [f"{name}: " + ("not finite" if v is None else f"{v:.6g}") for name, v in overflowing.items()]
        more = f" and {len(values) - 3} more" if len(values) > 3 else ""
        text = f"{', '.join(values[:3])}{more}; the largest {body} is {ranges['limit']:.6g}"
        do = "use --precision bf16, which has the range of fp32" if body == "fp16" else "check the checkpoint's weights"
        problem = f"{body} cannot represent this network's values"
        if precision != body:
            problem = (
                f"{precision} is not possible: {body}, the type of the rest of its graph, cannot represent its values"
            )
        raise CheckFailed(problem, text, do)


def _largest(values: Mapping[str, float]) -> dict[str, float]:
    ordered = sorted(values.items(), key=lambda item: _size(item[1]), reverse=True)
    return dict(ordered[:REPORTED])


def _size(value: float) -> float:
    """Return the key for sorting, in which NaN is the largest."""
    return math.inf if math.isnan(value) else value
