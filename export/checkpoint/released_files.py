"""Names of released files, and of the copies that browsers and file managers make of them."""

import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from export.model.config import declared_models, load_config

COPY_WORDS = {
    *("copy", "of", "kopie", "von", "copie", "de", "copia"),
    *("tar", "pth", "pt", "ckpt", "zip", "bin", "safetensors", "crdownload", "part", "download"),
}
"""Words that a copy, an unfinished download or another suffix adds to a name."""


class NameRank(NamedTuple):
    """Likelihood that a name is a released one; the smallest rank is the likeliest."""

    is_copy: bool
    """True for names such as ``ConvNeXtPose_XS (1).tar`` or ``convnextpose-xs.pth``."""
    position: int
    """Position of the released file among the model's."""
    is_folder: bool
    """True for the name of the folder that was unpacked from it."""


NO_NAME = NameRank(is_copy=True, position=sys.maxsize, is_folder=True)
"""Rank of a file without a released name."""


def name_rank(names: Iterable[str], released: Sequence[str]) -> NameRank | None:
    """Return the smallest rank of a path's names, given a model's released files; None if none is like them."""
    ranks = []
    for position, file in enumerate(released):
        for name in names:
            if name in (file, Path(file).stem):
                ranks.append(NameRank(is_copy=False, position=position, is_folder=name != file))
            elif _is_copy(name, file):
                ranks.append(NameRank(is_copy=True, position=position, is_folder=False))
    return min(ranks, default=None)


def models_named(names: Sequence[str]) -> list[str]:
    """Return the declared models whose released files, or copies of them, have one of these names; likeliest first."""
    ranks = {model: rank for model, files in _released_files().items() if (rank := name_rank(names, files)) is not None}
    return sorted(ranks, key=lambda model: ranks[model])


@cache
def _released_files() -> dict[str, tuple[str, ...]]:
    """Return the released files of each declared model; a folder may hold thousands of files to compare with them."""
    return {model: tuple(load_config(model).files) for model in reversed(declared_models())}  # XS before XS-atto


def _is_copy(name: str, released: str) -> bool:
    words, expected = _words(name), _words(released)
    number = words[len(expected) :]
    same = words[: len(expected)] == expected or "".join(words) == "".join(expected)
    return same and (not number or (len(number) == 1 and number[0].isdigit())) and not name.startswith(".")


def _words(name: str) -> list[str]:
    return [word for word in re.findall(r"[a-z0-9]+", name.casefold()) if word not in COPY_WORDS]
