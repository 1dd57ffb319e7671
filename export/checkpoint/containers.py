"""Containers of weights, told apart by their content, never by their name, and checked before they are read.

A torch file is a zip with a pickle in it; before torch 1.6 it was a bare pickle ("legacy"). Users also have the folder
that an unzip tool made of such a zip, and zips that were made from that folder. This project reads all of them itself,
without torch.
"""

import io
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from export.checkpoint.pickled import MAX_PICKLE_BYTES, PickleReader, Storage, only_harmless, refused_globals
from export.common.errors import BadInput
from export.common.files import files_below
from export.common.plain import shorten

Container = Literal["torch zip", "torch legacy", "unpacked folder", "safetensors"]

MAX_BYTES = 4 << 30
"""Limit of a file, a folder, or an unpacked archive; a released file is under 100 MB."""
MAX_COMPRESSED_BYTES = 1 << 30
"""Limit of what an archive's compressed entries unpack to; torch does not compress."""
MAX_SAFETENSORS_BYTES = 2 << 30
"""Limit of a file that is read into memory as a whole."""
MAX_FILES = 50_000
"""Limit of the files in a folder."""

PICKLE_RECORD = "data.pkl"
FOLDER_DEPTH = 2
"""Levels below the named folder at which the unpacked one is looked for."""

DOWNLOAD_AGAIN = "download it again, and compare its size with the one that the source gives"

NOT_CHECKPOINTS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x1f\x8b", "a gzip archive", "unpack it with gunzip first"),
    (257, b"ustar", "a tar archive", "unpack it with `tar xf` and name the file inside"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive", "unpack it first"),
    (0, b"Rar!", "a RAR archive", "unpack it first"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch the file with `git lfs pull`"),
)
"""(offset, bytes, kind of file, advice)"""

DAMAGED_ZIP = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, RuntimeError, OSError, ValueError, MemoryError),
)
"""Exceptions of reading a damaged zip."""

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class Content:
    """A checkpoint's content as plain data."""

    container: Container
    value: Any
    """Tensors are descriptions of their storage; those of a safetensors file are tensors."""
    read_storage: Callable[[Storage], bytes]
    big_endian: bool = False


@contextmanager
def open_container(path: Path) -> Iterator[Content]:
    """Open a checkpoint, and read all but its storages.

    Raises:
        BadInput: the file is missing, empty, unreadable, too large, damaged, of no known kind, or names code.
    """
    size = check_size(path)
    if path.is_dir():
        yield _open_folder(path)
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadInput(f"cannot read {path}", error.strerror or str(error), "check the path") from error
    with file:
        head = file.read(512)
        file.seek(0)
        if size == 0:
            raise BadInput(f"{path} is empty", "0 bytes", DOWNLOAD_AGAIN)
        # First: the length that safetensors begin with may look like the mark of another container.
        if _is_safetensors(head, size):
            yield _open_safetensors(path, file, size)
        elif head.startswith(b"PK"):
            yield _open_zip(path, file)
        elif head.startswith(b"\x80"):
            yield _open_legacy(path, file, size)
        else:
            raise _not_a_checkpoint(path, head)


def has_checkpoint_head(path: Path) -> bool:
    """Return whether a path is a folder, or a file that begins like a checkpoint or another zip."""
    try:
        if path.is_dir():
            return True
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(512)
        return _is_safetensors(head, path.stat().st_size) or head.startswith((b"PK", b"\x80"))
    except OSError:
        return False


def check_size(path: Path) -> int:
    """Return the bytes of a file, or of a folder's files, before anything reads or hashes them.

    Raises:
        BadInput: the path is missing, unreadable or too large, or is or holds something that is not a file.
    """
    folder = "the folder " if os.path.isdir(path) else ""
    try:
        if folder:
            size = sum(file.stat().st_size for file in _files(path))
        elif path.exists() and not path.is_file():
            raise BadInput(f"cannot read {path}", "neither a file nor a folder", "name a checkpoint")
        else:
            size = path.stat().st_size
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise BadInput(f"cannot read {folder}{path}", reason, "check the path, its links and permissions") from error
    if size > MAX_BYTES:
        raise BadInput(f"{path} is too large", f"{size:,} bytes", "expected a checkpoint below 4 GiB")
    return size


def _is_safetensors(head: bytes, size: int) -> bool:
    return head[8:9] == b"{" and bool(struct.unpack("<Q", head[:8])[0] < size)


def _files(folder: Path) -> list[Path]:
    """Return the files in a folder and below it, sorted; a link counts as the file that it leads to."""
    files = list(islice(files_below(folder), MAX_FILES + 1))
    if len(files) > MAX_FILES:
        raise BadInput(f"the folder {folder} is too large", f"over {MAX_FILES:,} files", "name a checkpoint")
    for file in files:
        if not file.is_symlink() and not file.is_file():
            detail = f"{shorten(file.name)!r} is neither a file nor a folder"
            raise BadInput(f"cannot read the folder {folder}", detail, "remove it, or name another folder")
    return sorted(files)


def _not_a_checkpoint(path: Path, head: bytes) -> BadInput:
    text = head.lstrip().lower()
    if text.startswith(b"<"):
        title = " ".join(head[:80].decode("utf-8", "replace").split())
        return BadInput(f"{path} is not a checkpoint", f"a web page, beginning {title!r}", DOWNLOAD_AGAIN)
    for offset, magic, name, do in NOT_CHECKPOINTS:
        if head[offset : offset + len(magic)] == magic:
            return BadInput(f"{path} is not a checkpoint", name, do)
    return BadInput(
        f"{path} is not a checkpoint",
        f"first bytes {head[:16].hex(' ')}",
        "expected a torch file (zip or legacy), the folder unpacked from one, or safetensors",
    )


def _open_safetensors(path: Path, file: IO[bytes], size: int) -> Content:
    from safetensors.torch import load

    if size > MAX_SAFETENSORS_BYTES:
        raise BadInput(f"{path} is too large", f"{size:,} bytes", "expected a safetensors file below 2 GiB")
    try:
        tensors = load(file.read())
    except Exception as error:  # types that torch does not have raise several others than SafetensorError
        reason = shorten(str(error) or type(error).__name__)
        raise BadInput(f"{path} is a damaged safetensors file", reason, DOWNLOAD_AGAIN) from error
    return Content("safetensors", tensors, lambda storage: b"")


def _open_legacy(path: Path, file: IO[bytes], size: int) -> Content:
    """Read the pickles of a legacy file; the storages follow them, each after its number of elements."""
    pickles = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    places: dict[str, int] = {}

    def read() -> Any:
        reader = PickleReader(pickles)
        magic, _, _ = reader.read(), reader.read(), reader.read()
        if magic != LEGACY_MAGIC:
            raise ValueError("a pickle that torch.save did not write")
        value, keys = reader.read(), reader.read()
        position = pickles.tell()
        for key in keys:
            places[key] = position + 8
            position += 8 + reader.storages[key].size_bytes
        if position > size:
            raise ValueError(f"it ends {position - size:,} bytes too early")
        return value

    def read_storage(storage: Storage) -> bytes:
        file.seek(places[storage.key])
        return file.read(storage.size_bytes)

    return Content("torch legacy", _read_pickle(path, read, pickles), read_storage)


def _open_zip(path: Path, file: IO[bytes]) -> Content:
    try:
        archive = zipfile.ZipFile(file)
        entries = {info.filename.replace("\\", "/"): info for info in archive.infolist()}
        _check_entries(path, archive)
        folder = _folder_of_pickle(path, list(entries))
        damaged = archive.testzip()
        if damaged is not None:
            detail = f"its entry {shorten(damaged)!r} has a wrong checksum"
            raise BadInput(f"{path} is damaged", detail, DOWNLOAD_AGAIN)
        sizes = {name.removeprefix(folder): info.file_size for name, info in entries.items() if name.startswith(folder)}
        return _open_records(path, "torch zip", sizes, lambda name: archive.read(entries[folder + name]))
    except DAMAGED_ZIP as error:
        reason = shorten(str(error) or type(error).__name__)
        raise BadInput(f"{path} is a truncated or damaged zip", reason, DOWNLOAD_AGAIN) from error


def _check_entries(path: Path, archive: zipfile.ZipFile) -> None:
    names = Counter(info.filename.replace("\\", "/") for info in archive.infolist())
    for info in archive.infolist():
        parts = PurePosixPath(info.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or stat.S_ISLNK(info.external_attr >> 16):
            detail = f"its entry {shorten(info.filename)!r} points outside it"
            raise BadInput(f"{path} is a hostile archive", detail, "do not use this file")
    name, count = names.most_common(1)[0] if names else ("", 0)
    if count > 1:
        detail = f"it has two entries {shorten(name)!r}"
        raise BadInput(f"{path} is a hostile archive", detail, "do not use this file")
    unpacked = sum(info.file_size for info in archive.infolist())
    compressed = sum(info.file_size for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED)
    if unpacked > MAX_BYTES or compressed > MAX_COMPRESSED_BYTES:
        limit = "a checkpoint below 4 GiB, of which 1 GiB is compressed"
        raise BadInput(f"{path} unpacks to too much", f"{unpacked:,} bytes", f"expected {limit}")


def _folder_of_pickle(path: Path, names: list[str]) -> str:
    """Return the archive's folder of torch's records, with its slash."""
    pickles = [n for n in names if n.rsplit("/", 1)[-1] == PICKLE_RECORD and "__MACOSX" not in n]
    if len(pickles) == 1:
        return pickles[0].removesuffix(PICKLE_RECORD)
    inside = ", ".join(repr(shorten(n)) for n in names[:5]) or "nothing"
    raise BadInput(
        f"{path} is a zip archive, but not one that torch.save wrote",
        f"{len(pickles) or 'no'} {PICKLE_RECORD} in it; it holds {inside}",
        "unpack it and name the checkpoint inside" if names else DOWNLOAD_AGAIN,
    )


def _open_folder(path: Path) -> Content:
    root = _unpacked_root(path)
    sizes = {}
    try:
        for file in _files(root):
            if not file.resolve().is_relative_to(root.resolve()):
                link = f"{shorten(file.name)!r} is a link that leads outside it"
                raise BadInput(f"the folder {path} is hostile", link, "do not use this folder")
            sizes[file.relative_to(root).as_posix()] = file.stat().st_size
        return _open_records(path, "unpacked folder", sizes, lambda name: (root / name).read_bytes())
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        raise BadInput(f"cannot read the folder {path}", str(error), "check its links and permissions") from error


def _unpacked_root(path: Path) -> Path:
    """Return the folder at or below ``path`` that holds the pickle and its records."""
    pickles = [
        pickle
        for depth in range(FOLDER_DEPTH + 1)
        for pickle in sorted(path.glob("*/" * depth + PICKLE_RECORD))
        if "__MACOSX" not in pickle.parts and (pickle.is_file() or pickle.is_symlink())
    ]
    if len(pickles) == 1:
        return pickles[0].parent
    content = ", ".join(repr(shorten(p.name)) for p in sorted(path.iterdir())[:5]) or "nothing"
    number = f"{len(pickles)} of them" if pickles else f"none, {FOLDER_DEPTH} levels deep; the folder holds {content}"
    raise BadInput(
        f"the folder {path} is no unpacked checkpoint",
        f"expected one {PICKLE_RECORD}, found {number}",
        "name the folder that holds data.pkl, data/ and version; `convnextpose inspect` lists those below a folder",
    )


def _open_records(
    path: Path, container: Container, sizes: dict[str, int], read_record: Callable[[str], bytes]
) -> Content:
    """Read the pickle among a torch zip's records, and find its storages.

    Args:
        path: the checkpoint, for errors.
        container: the kind of container.
        sizes: name of each record → its bytes.
        read_record: returns a record.
    """
    if sizes[PICKLE_RECORD] > MAX_PICKLE_BYTES:
        raise BadInput(f"torch cannot read weights from {path}", "its pickle is over 64 MiB", DOWNLOAD_AGAIN)
    pickled = io.BytesIO(read_record(PICKLE_RECORD))
    reader = PickleReader(pickled)
    value = _read_pickle(path, reader.read, pickled)
    for key, storage in reader.storages.items():
        size = sizes.get(f"data/{key}")
        if (size or 0) != storage.size_bytes:
            record = f"its record 'data/{shorten(key)}' "
            reason = record + ("is missing" if size is None else f"has {size:,} bytes, not {storage.size_bytes:,}")
            raise BadInput(f"torch cannot read weights from {path}", reason, DOWNLOAD_AGAIN)

    def read_storage(storage: Storage) -> bytes:
        return read_record(f"data/{storage.key}")

    big_endian = sizes.get("byteorder") == 3 and read_record("byteorder") == b"big"
    return Content(container, value, read_storage, big_endian)


def _read_pickle(path: Path, read: Callable[[], Any], pickles: IO[bytes]) -> Any:
    """Return what ``read`` reads from the pickles, or raise an error that names what they would call."""
    try:
        return read()
    except Exception as error:  # a damaged or hostile pickle can raise anything
        pickles.seek(0)
        names = refused_globals(pickles)
        listed = ", ".join(map(shorten, names[:20]))
        if names and only_harmless(names):
            raise BadInput(
                f"{path} holds more than weights",
                f"it names {listed}, which only makes values, but is not read",
                "save network.state_dict() alone, or numbers as Python's own: float(x), x.tolist(), vars(args), str(p)",
            ) from error
        if names:
            raise BadInput(
                f"{path} would execute code when loaded",
                f"it names {listed}",
                "do not trust this file; if it is your own, save only network.state_dict() in it",
            ) from error
        reason = shorten((str(error).strip() or type(error).__name__).splitlines()[0])
        do = DOWNLOAD_AGAIN
        if "Unsupported operand" in reason:
            do = "save it again with torch.save's default protocol: pickles of protocol 2 are read"
        raise BadInput(f"torch cannot read weights from {path}", reason, do) from error
