"""Names of released files, and of the copies that browsers and file managers make of them."""

import re
from collections.abc import Iterable
from pathlib import Path

COPY_WORDS = {
    *("copy", "of", "kopie", "von", "copie", "de", "copia"),
    *("tar", "pth", "pt", "ckpt", "zip", "bin", "safetensors", "crdownload", "part", "download"),
}
"""Words that a copy, an unfinished download or another suffix adds to a name."""


def has_released_name(path: Path, released: Iterable[str]) -> bool:
    """Return whether a file or folder is called like a released file, or like the folder unpacked from it."""
    return any(path.name in (name, Path(name).stem) for name in released)


def is_copy(path: Path, released: Iterable[str]) -> bool:
    """Return whether a name is that of a copy, such as ``ConvNeXtPose_XS (1).tar`` or ``convnextpose-xs.pth``."""
    words = _words(path.name)
    for name in released:
        expected = _words(name)
        number = words[len(expected) :]
        same = words[: len(expected)] == expected or "".join(words) == "".join(expected)
        if same and (not number or (len(number) == 1 and number[0].isdigit())):
            return not path.name.startswith(".")
    return False


def _words(name: str) -> list[str]:
    return [word for word in re.findall(r"[a-z0-9]+", name.casefold()) if word not in COPY_WORDS]
