"""Text from files, made fit to be shown: a name may hold anything, and a control character ends the program that draws
it (vl-convert) or is no XML at all."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from export.plain import printable

Value = TypeVar("Value")


def clean(value: Value) -> Value:
    """A copy of frozen dataclasses, tuples, lists and mappings in which every text is printable."""
    cleaned: Any = value
    if isinstance(value, str):
        cleaned = printable(value)
    elif is_dataclass(value) and not isinstance(value, type):
        cleaned = replace(value, **{field.name: clean(getattr(value, field.name)) for field in fields(value)})
    elif isinstance(value, tuple):
        cleaned = tuple(map(clean, value))
    elif isinstance(value, list):
        cleaned = list(map(clean, value))
    elif isinstance(value, Mapping):
        cleaned = {clean(name): clean(of) for name, of in value.items()}
    return cleaned
