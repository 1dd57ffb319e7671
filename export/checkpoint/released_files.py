"""Names of released files, and of the copies that browsers and file managers make of them."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from export.model.config import declared_models, load_config

COPY_WORDS = {
    *("copy", "of", "kopie", "von", "copie", "de", "copia"),
    *("tar", "pth", "pt", "ckpt", "zip", "bin", "safetensors", "crdownload", "part", "download"),
}
"""Words that a copy, an unfinished download or another suffix adds to a name."""


def name_rank(names: Iterable[str], released: Sequence[str]) -> tuple[bool, int] | None:
    """Return how likely one of a path's names is a released one: (is a copy, position); None if none is.

    The name of a folder that was unpacked from a released file counts as released. Copies are such as
    ``ConvNeXtPose_XS (1).tar`` or ``convnextpose-xs.pth``.
    """
    ranks = []
    for position, file in enumerate(released):
        for name in names:
            if name in (file, Path(file).stem):
                ranks.append((False, 2 * position + (name != file)))
            elif _is_copy(name, file):
                ranks.append((True, 2 * position))
    return min(ranks, default=None)


def models_named(names: Sequence[str]) -> list[str]:
    """Return the declared models whose released files, or copies of them, have one of these names; likeliest first."""
    ranks = {}
    for model in reversed(declared_models()):  # XS before XS-atto: both expect the same file
        if (rank := name_rank(names, load_config(model).files)) is not None:
            ranks[model] = rank
    return sorted(ranks, key=lambda model: ranks[model])


def _is_copy(name: str, released: str) -> bool:
    words, expected = _words(name), _words(released)
    number = words[len(expected) :]
    same = words[: len(expected)] == expected or "".join(words) == "".join(expected)
    return same and (not number or (len(number) == 1 and number[0].isdigit())) and not name.startswith(".")


def _words(name: str) -> list[str]:
    return [word for word in re.findall(r"[a-z0-9]+", name.casefold()) if word not in COPY_WORDS]
