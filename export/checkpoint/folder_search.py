"""Search of a folder for files that may be checkpoints, at any depth."""

import os
import zipfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from export.checkpoint.containers import DAMAGED_ZIP, FOLDER_DEPTH, PICKLE_RECORD, has_checkpoint_head

MAX_ENTRIES = 20_000
"""Limit of files and folders that a search looks at; those nearest to the top come first."""

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".safetensors")
"""Suffixes by which a file claims to be a checkpoint."""

TORCH_RECORDS = {"data", "version", "byteorder", ".data", ".format_version", ".storage_alignment"}
"""Entries of an unpacked torch file beside its pickle."""


@dataclass(frozen=True)
class FolderSearch:
    """The files below a folder, and the folders unpacked from a torch file, those nearest to the top first."""

    folder: Path
    paths: tuple[Path, ...]
    entries: int
    """Files and folders that were looked at."""
    complete: bool
    """False if there are more than the limit."""

    def names(self, path: Path) -> tuple[str, ...]:
        """Return the names that may tell the model of a path: its parts below the folder, and folders in it."""
        return (*(path.relative_to(self.folder).parts or (path.name,)), *_folders_in(path))

    @property
    def notice(self) -> str | None:
        """The limit, if the search has reached it."""
        if self.complete:
            return None
        return f"looked at the first {self.entries:,} entries of {self.folder} only; name a folder further down"


def search_folder(folder: Path) -> FolderSearch:
    """Find every file and every unpacked checkpoint below a folder.

    Links are followed, and each folder is visited once. Hidden entries and ``__MACOSX`` are passed over. An unpacked
    checkpoint that is alone in a folder is that folder: an unzip tool made it, and it has the file's name.
    """
    paths: list[Path] = []
    queue, visited, entries = deque([(folder, folder)]), set[tuple[int, int]](), 0
    while queue and entries <= MAX_ENTRIES:
        current, outer = queue.popleft()
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(current) as content:
                names = sorted(entry.name for entry in islice(content, MAX_ENTRIES + 1 - entries))
        except OSError:
            paths.append(current)  # reading it tells the reason
            continue
        entries += len(names)
        if _is_unpacked(current, names):
            paths.append(outer)
            continue
        entries_below = [current / name for name in names if not name.startswith(".") and name != "__MACOSX"]
        for path in entries_below:
            if os.path.isdir(path):
                wrapped = len(entries_below) == 1 and current != folder
                queue.append((path, current if wrapped else path))
            else:
                paths.append(path)
    return FolderSearch(folder, tuple(paths), min(entries, MAX_ENTRIES), complete=entries <= MAX_ENTRIES)


def is_one_checkpoint(search: FolderSearch) -> bool:
    """Return whether a folder is to be read as a whole: it is, or only wraps, one unpacked checkpoint, or has none."""
    candidates = [path for path in search.paths if claims_to_be_checkpoint(path)]
    if not candidates:
        return True
    only = candidates[0]
    if len(candidates) > 1 or not os.path.isdir(only):
        return False
    depth = len(only.relative_to(search.folder).parts) + (not os.path.lexists(only / PICKLE_RECORD))
    return depth <= FOLDER_DEPTH


def claims_to_be_checkpoint(path: Path) -> bool:
    """Return whether a path is an unpacked folder, or has the content or the suffix of a checkpoint."""
    if os.path.isdir(path) or path.name.casefold().endswith(CHECKPOINT_SUFFIXES):
        return True
    return has_checkpoint_head(path) and not _is_other_zip(path)


def _is_other_zip(path: Path) -> bool:
    """Return whether a file is a zip without a checkpoint's pickle, such as an ``.npz`` or a data set."""
    try:
        with zipfile.ZipFile(path) as archive:
            return not any(name.endswith(PICKLE_RECORD) for name in archive.namelist())
    except (*DAMAGED_ZIP, NotImplementedError):
        return False


def _is_unpacked(folder: Path, names: Sequence[str]) -> bool:
    """Return whether a folder was unpacked from a torch file, even if it lacks its pickle."""
    if PICKLE_RECORD in names:
        return True
    if "data" not in names or not TORCH_RECORDS.issuperset(names):
        return False
    try:
        with os.scandir(folder / "data") as storages:
            return any(entry.name.isdigit() for entry in islice(storages, 10))
    except OSError:
        return False


def _folders_in(path: Path) -> list[str]:
    """Return the names of the folders in a folder; none in a file, or in a folder that cannot be read."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
