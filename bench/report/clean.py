"""Text from files, made fit to be shown: a name may hold anything, and a control character ends the program that draws
it (vl-convert) or is no XML at all."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from export.plain import printable


def clean(value: Any) -> Any:
    """A copy of frozen dataclasses, tuples, lists and mappings in which every text is printable."""
    if isinstance(value, str):
        return printable(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: clean(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, (tuple, list)):
        return type(value)(map(clean, value))
    if isinstance(value, Mapping):
        return {clean(name): clean(of) for name, of in value.items()}
    return value
