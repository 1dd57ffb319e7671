"""Plain data as JSON has it, without NaN and infinity, and its text for tables."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

Key = TypeVar("Key")


def finite_or_none(value: Any) -> Any:
    """Copy a value; a float that is not finite becomes None, a tuple a list."""
    if isinstance(value, dict):
        return {k: finite_or_none(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [finite_or_none(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def all_finite(value: Any) -> bool:
    """Return whether no number in it is NaN or infinite."""
    if isinstance(value, dict):
        return all(map(all_finite, value.values()))
    if isinstance(value, (tuple, list)):
        return all(map(all_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def show_list(value: Any) -> str:
    """Return a value as a table shows it: lists without quotes, None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, (list, tuple)):
        return f"{value[0]} ×{len(value)}" if len(value) > 2 and len(set(value)) == 1 else ", ".join(map(str, value))
    return str(value)


def printable_texts(value: Any) -> Any:
    """Copy a value, with control characters in its texts escaped; keys stay."""
    if isinstance(value, dict):
        return {k: printable_texts(v) for k, v in value.items()}
    if isinstance(value, list):
        return [printable_texts(v) for v in value]
    return printable(value) if isinstance(value, str) else value


def printable(text: str) -> str:
    """Escape control characters: text from a file must not command the terminal that shows it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(text: str, length: int = 200) -> str:
    """Return text from a file, cut in the middle to about this length."""
    if len(text) <= length:
        return text
    return f"{text[: length // 2]}… ({len(text):,} characters) …{text[-length // 4 :]}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return names in a phrase: ``a, b and 3 more``; ``nothing`` without any."""
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most) or "nothing"


def group_names(pairs: Iterable[tuple[str, Key]]) -> dict[Key, list[str]]:
    """Return each key once, such as a reason, with the names that it holds for, each once."""
    names: dict[Key, dict[str, None]] = {}
    for name, key in pairs:
        names.setdefault(key, {})[name] = None
    return {key: list(group) for key, group in names.items()}
