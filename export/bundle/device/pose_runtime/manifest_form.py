"""The form of a bundle's manifest: the values that the runtime and the verifier read, each with its type."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Callable

MOST_TEXT, MOST_ITEMS, MOST_SIZE, MOST_BYTES = 10_000, 10_000, 4096, 4 << 30
MOST_DIGITS = 18
PRECISIONS, STATISTICS = ("fp32", "fp16", "bf16", "int8"), ("max", "mean", "p99")

Test = Callable[[Any], bool]


class ListOf:
    """A list, of a fixed length or of any, with items of one form."""

    def __init__(self, form: Any, length: int | None = None) -> None:
        self.form, self.length = form, length

    def allows(self, length: int) -> bool:
        """Return whether a list may have this length."""
        return length <= MOST_ITEMS if self.length is None else length == self.length


def parse_whole(text: str) -> int:
    """Return a whole number of JSON; a long one, which would take Python minutes, is refused.

    Raises:
        ValueError: it has more digits than any number of a manifest.
    """
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def one_of(*names: str) -> Test:
    """Return a test for these texts."""
    return lambda value: isinstance(value, str) and value in names


def whole(least: int, most: int) -> Test:
    """Return a test for a whole number between two others."""
    return lambda value: type(value) is int and least <= value <= most


def is_text(value: Any) -> bool:
    """Return whether a value is a text that can be printed."""
    return isinstance(value, str) and len(value) <= MOST_TEXT and value.isprintable()


def is_length(value: Any) -> bool:
    """Return whether a value is a positive finite number."""
    return type(value) in (int, float) and 0 < value < math.inf


def is_text_or_none(value: Any) -> bool:
    """Return whether a value is null, or a text that can be printed."""
    return value is None or is_text(value)


FILE = {"path": is_text, "sha256": is_text, "size_bytes": whole(0, MOST_BYTES)}
FORM = {
    "budgets": {},
    "build": {
        "batches": ListOf(whole(1, MOST_SIZE), 3),
        "workspace_bytes": whole(1, 1 << 50),
        "optimization_level": whole(0, 5),
    },
    "files": ListOf(FILE),
    "golden": {**FILE, "count": whole(1, MOST_SIZE), "source": is_text},
    "joints": {"names": ListOf(is_text), "bones": ListOf(ListOf(whole(0, MOST_SIZE), 2))},
    "model": is_text,
    "needed_signal_mm": is_length,
    "onnx": ListOf({**FILE, "precision": one_of(*PRECISIONS), "fp32_convolutions": whole(0, MOST_ITEMS)}),
    "volume": {
        "heatmap_size": whole(1, MOST_SIZE),
        "depth_dim": whole(1, MOST_SIZE),
        "input_size": whole(1, MOST_SIZE),
        "cube_mm": is_length,
    },
    "weights": {"origin": is_text, "sha256": is_text, "notice": is_text_or_none},
}
"""Key → the form of its value: a dictionary's keys, a list's items, or a test."""
BUDGET = {"limits": ListOf({"statistic": one_of(*STATISTICS), "allowed_mm": is_length, "reason": is_text})}
"""The form of the budget of each precision that has an ONNX file."""


def wrong_values(manifest: Any) -> list[str]:
    """Return the places of all values that are missing or of another form, as ``onnx[0].precision``."""
    wrong = list(_differences(manifest, FORM, ""))
    if not wrong:
        budgets = dict.fromkeys((entry["precision"] for entry in manifest["onnx"]), BUDGET)
        wrong = list(_differences(manifest["budgets"], budgets, "budgets"))
    return wrong


def _differences(value: Any, form: Any, place: str) -> Iterator[str]:
    if isinstance(form, dict):
        if not isinstance(value, dict):
            yield f"{place or 'the manifest'}: not an object"
            return
        for key, part in form.items():
            name = f"{place}.{key}" if place else key
            if key in value:
                yield from _differences(value[key], part, name)
            else:
                yield f"{name}: missing"
    elif isinstance(form, ListOf):
        if not isinstance(value, list) or not form.allows(len(value)):
            yield f"{place}: not a list, or of another length"
            return
        for index, item in enumerate(value):
            yield from _differences(item, form.form, f"{place}[{index}]")
    elif not form(value):
        yield f"{place}: of another type, or out of range"
