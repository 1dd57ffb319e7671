"""How large a network's values become, and whether a precision can hold them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.errors import CheckFailed
from export.plain import finite_or_none

REPORTED = 8
"""How many of the largest are kept."""


@dataclass(frozen=True)
class Ranges:
    """The largest absolute value of each layer's output over all images, and of each weight; NaN is kept as NaN."""

    limit: float
    """The largest finite value of the type."""
    images: int
    activations: Mapping[str, float]
    weights: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """The largest few, largest first, as plain data; what is not finite comes first and is null."""
        overflowing = {
            name: value
            for values in (self.activations, self.weights)
            for name, value in values.items()
            if not value <= self.limit
        }
        return dict(
            finite_or_none(
                {
                    "limit": self.limit,
                    "images": self.images,
                    "activations": _largest(self.activations),
                    "weights": _largest(self.weights),
                    "overflowing": overflowing,
                }
            )
        )


def require_range(ranges: Mapping[str, Any], precision: str) -> None:
    """Refuse a precision in which a value does not fit; ``ranges`` as ``Ranges.as_json`` gives them.

    Raises:
        CheckFailed: naming the first layers, in the order of the data.
    """
    overflowing = ranges.get("overflowing", {})
    if overflowing:
        shown = [f"{name}: " + ("not finite" if v is None else f"{v:.6g}") for name, v in overflowing.items()]
        more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
        seen = f"{', '.join(shown[:3])}{more}; the largest {precision} is {ranges['limit']:.6g}"
        do = "ask for bf16, which has the range of fp32" if precision == "fp16" else "the network itself is not sound"
        raise CheckFailed(f"{precision} cannot hold this network's values", seen, do)


def _largest(values: Mapping[str, float]) -> dict[str, float]:
    ordered = sorted(values.items(), key=lambda item: math.inf if math.isnan(item[1]) else item[1], reverse=True)
    return dict(ordered[:REPORTED])
