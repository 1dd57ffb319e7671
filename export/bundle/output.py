"""Folders that appear whole or not at all, and reproducible archives of them."""

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.common.errors import BadInput
from export.common.files import PARTIAL_PREFIX, whole_file, write_error
from export.common.records import peek
from export.common.temporary import temporary_folder

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip file can hold."""
UNIX = 3
PLAIN, EXECUTABLE = 0o100644, 0o100755


@contextmanager
def whole_folder(place: Path) -> Iterator[Path]:
    """Yield a folder to fill; when the block ends without an error it replaces ``place``.

    Raises:
        BadInput: it cannot be written.
    """
    try:
        with temporary_folder(PARTIAL_PREFIX, place.parent) as parent:
            folder = parent / place.name
            folder.mkdir()
            yield folder
            if place.exists():
                shutil.move(place, parent / "old")  # a folder of an image's lower layer cannot be renamed
            folder.rename(place)
    except OSError as error:
        raise write_error(place, error) from error


def require_replaceable(place: Path, record: str, kind: str) -> None:
    """Check that ``place`` is free, or holds an earlier folder of the same kind by its ``record``.

    Raises:
        BadInput: it is something else, which must not be replaced.
    """
    if not (place.exists() or place.is_symlink()):
        return
    value = "a link" if place.is_symlink() else _kind(place / record)
    if value != kind:
        raise BadInput(f"{place} would be replaced, and is no {kind}", value, "name another folder with --out")


def _kind(record: Path) -> str:
    """Return the kind that a record states; a pipe or a device is never opened."""
    return str((peek(record, "kind") if record.is_file() else None) or "no manifest")


def write_archive(folder: Path, archive: Path) -> None:
    """Write a zip file of ``folder`` under the folder's name; its bytes depend on the folder's content only.

    Order, times and permissions are fixed. Nothing is compressed: weights hardly shrink (S's four precisions by a
    tenth), and what a compressor writes differs between its versions.

    Raises:
        BadInput: it cannot be written.
    """
    with whole_file(archive) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()):
            path = folder / name
            entry = zipfile.ZipInfo(f"{folder.name}/{name}", EPOCH)
            entry.create_system = UNIX
            entry.external_attr = (EXECUTABLE if path.stat().st_mode & 0o100 else PLAIN) << 16
            entry.file_size = path.stat().st_size
            with path.open("rb") as source, target.open(entry, "w") as file:
                shutil.copyfileobj(source, file, 1 << 20)
