"""Containers of weights, told apart by their content, never by their name, and checked before torch reads them.

A torch file is a zip with a pickle in it; before torch 1.6 it was a bare pickle ("legacy"). Users also have the folder
that an unzip tool made of such a zip, and zips that were made from that folder.
"""

import io
import lzma
import pickletools
import re
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

import torch

from export.common.errors import BadInput

Container = Literal["torch zip", "torch legacy", "unpacked folder", "safetensors"]

HARMLESS_GLOBALS = re.compile(
    r"collections\.OrderedDict|_codecs\.encode|torch\.nn\.parameter\.Parameter"
    r"|torch\._utils\._rebuild_\w+|torch\.(\w*Storage|storage\.\w*Storage|Size|device|Tensor|b?float\d+|u?int\d+|bool)"
)
"""Globals in the pickle of a checkpoint that only holds tensors. Torch decides by a list of its own; this one serves to
name the other globals after torch has refused the file."""

MAX_UNPACKED_BYTES = 4 << 30
"""Limit of an unpacked archive; a released file is under 100 MB."""

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
    *(EOFError, RuntimeError, OSError, ValueError),
)
"""Exceptions of reading a damaged zip."""


def open_container(path: Path) -> tuple[Container, Callable[[], Any]]:
    """Return the kind of container, and a function that reads it.

    Raises:
        BadInput: the file is missing, empty, unreadable, or of no known kind.
    """
    try:
        if path.is_dir():
            return "unpacked folder", lambda: _load_folder(path)
        if path.exists() and not path.is_file():
            raise BadInput(f"cannot read {path}", "neither a file nor a folder", "name a checkpoint")
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise BadInput(f"cannot read {path}", error.strerror or str(error), "check the path") from error
    if size == 0:
        raise BadInput(f"{path} is empty", "0 bytes", DOWNLOAD_AGAIN)
    # First: the length that safetensors begin with may look like the mark of another container.
    if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < size:
        return "safetensors", lambda: _load_safetensors(path)
    if head.startswith(b"PK"):
        return "torch zip", lambda: _load_zip(path)
    if head.startswith(b"\x80"):
        return "torch legacy", lambda: _load_legacy(path)
    raise _not_a_checkpoint(path, head)


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


def _load_safetensors(path: Path) -> Any:
    import safetensors
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise BadInput(f"{path} is a damaged safetensors file", str(error), DOWNLOAD_AGAIN) from error


def _load_legacy(path: Path) -> Any:
    with path.open("rb") as source, path.open("rb") as again:
        return _load_torch(path, source, lambda: _pickles(again), mmap=False)


def _load_zip(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(path, archive)
            entries = archive.infolist()
            folder = _folder_of_pickle(path, [info.filename for info in entries])
            damaged = archive.testzip()
            if damaged is not None:
                raise BadInput(f"{path} is damaged", f"its entry {damaged!r} has a wrong checksum", DOWNLOAD_AGAIN)
            pickled = archive.read(folder + PICKLE_RECORD)
            inside = [info for info in entries if info.filename.startswith(folder)]
            # torch.load takes a path with this suffix for safetensors, whatever the file holds
            plain = folder.count("/") == 1 and path.suffix != ".safetensors" and inside == entries
            plain = plain and all(info.compress_type == zipfile.ZIP_STORED for info in entries)
            source: Path | IO[bytes] = path
            if not plain:
                records = {info.filename.removeprefix(folder): info for info in inside if not info.is_dir()}
                source = _as_torch_zip({name: archive.read(info) for name, info in records.items()})
    except DAMAGED_ZIP as error:
        reason = str(error) or type(error).__name__
        raise BadInput(f"{path} is a truncated or damaged zip", reason, DOWNLOAD_AGAIN) from error
    return _load_torch(path, source, lambda: _pickles(io.BytesIO(pickled)), mmap=plain)


def _check_entries(path: Path, archive: zipfile.ZipFile) -> None:
    names = [info.filename for info in archive.infolist()]
    for info in archive.infolist():
        parts = PurePosixPath(info.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or stat.S_ISLNK(info.external_attr >> 16):
            raise BadInput(
                f"{path} is a hostile archive", f"its entry {info.filename!r} points outside it", "do not use this file"
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadInput(f"{path} is a hostile archive", f"it has two entries {twice!r}", "do not use this file")
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > MAX_UNPACKED_BYTES:
        raise BadInput(f"{path} unpacks to too much", f"{unpacked:,} bytes", "expected a checkpoint below 4 GiB")


def _folder_of_pickle(path: Path, names: list[str]) -> str:
    """Return the archive's folder of torch's records, with its slash."""
    pickles = [n for n in names if PurePosixPath(n).name == PICKLE_RECORD and "__MACOSX" not in n]
    if len(pickles) == 1:
        return pickles[0].removesuffix(PICKLE_RECORD)
    inside = ", ".join(repr(n) for n in names[:5]) or "nothing"
    raise BadInput(
        f"{path} is a zip archive, but not one that torch.save wrote",
        f"{len(pickles) or 'no'} {PICKLE_RECORD} in it; it holds {inside}",
        "unpack it and name the checkpoint inside" if names else DOWNLOAD_AGAIN,
    )


def _load_folder(path: Path) -> Any:
    root = _unpacked_root(path)
    records = {}
    try:
        for file in sorted(p for p in root.rglob("*") if not p.is_dir()):
            if not file.resolve().is_relative_to(root.resolve()):
                link = f"{file.name!r} is a link that leads outside it"
                raise BadInput(f"the folder {path} is hostile", link, "do not use this folder")
            records[file.relative_to(root).as_posix()] = file.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        raise BadInput(f"cannot read the folder {path}", str(error), "check its links and permissions") from error
    pickled = records[PICKLE_RECORD]
    return _load_torch(path, _as_torch_zip(records), lambda: _pickles(io.BytesIO(pickled)), mmap=False)


def _unpacked_root(path: Path) -> Path:
    """Return the folder at or below ``path`` that holds the pickle and its records."""
    pickles = [
        pickle
        for depth in range(FOLDER_DEPTH + 1)
        for pickle in sorted(path.glob("*/" * depth + PICKLE_RECORD))
        if "__MACOSX" not in pickle.parts
    ]
    if len(pickles) == 1:
        return pickles[0].parent
    content = ", ".join(repr(p.name) for p in sorted(path.iterdir())[:5]) or "nothing"
    number = f"{len(pickles)} of them" if pickles else f"none, {FOLDER_DEPTH} levels deep; the folder holds {content}"
    raise BadInput(
        f"the folder {path} is no unpacked checkpoint",
        f"expected one {PICKLE_RECORD}, found {number}",
        "name the folder that holds data.pkl, data/ and version",
    )


def _as_torch_zip(records: dict[str, bytes]) -> IO[bytes]:
    """Return the records as an uncompressed zip in memory, which torch's own reader takes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in records.items():
            archive.writestr(f"archive/{name}", data)
    buffer.seek(0)
    return buffer


def _load_torch(path: Path, source: Path | IO[bytes], pickles: Callable[[], Iterator[bytes]], *, mmap: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # problems of a file raise below
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # a damaged or hostile pickle can raise anything in torch's reader
        blocked = sorted(_blocked_globals(pickles()))
        if blocked:
            raise BadInput(
                f"{path} would execute code when loaded",
                f"it names {', '.join(blocked)}",
                "do not trust this file; if it is your own, save only network.state_dict() in it",
            ) from error
        message = str(error).strip() or type(error).__name__
        match = re.search(r"WeightsUnpickler error:\s*(.+)", message)
        reason = (match[1] if match else message).splitlines()[0][:200]
        if "weights_only" in reason:  # torch's advice to read it without protection
            reason = type(error).__name__
        if "Unsupported operand" in reason:
            do = "save it again with torch.save's default protocol: torch reads pickles of protocol 2 safely"
            raise BadInput(f"torch cannot read weights from {path}", reason, do) from error
        raise BadInput(f"torch cannot read weights from {path}", reason, DOWNLOAD_AGAIN) from error


def _pickles(file: IO[bytes]) -> Iterator[bytes]:
    """Yield consecutive pickles from the file's position on."""
    while file.read(1) == b"\x80":
        file.seek(-1, io.SEEK_CUR)
        start = file.tell()
        try:
            for _ in pickletools.genops(file):
                pass
        except Exception:  # damaged: return the rest for a search of its globals
            file.seek(start)
            yield file.read()
            return
        end = file.tell()
        file.seek(start)
        yield file.read(end - start)


def _blocked_globals(pickles: Iterator[bytes]) -> set[str]:
    """Return globals in the pickles that a checkpoint of tensors does not need."""
    blocked = set()
    for pickled in pickles:
        pushed: list[Any] = []
        memo: dict[Any, Any] = {}
        try:
            for opcode, argument, _ in pickletools.genops(pickled):
                if opcode.name in ("GLOBAL", "INST"):
                    blocked.add(str(argument).replace(" ", "."))
                elif opcode.name == "STACK_GLOBAL":
                    blocked.add(".".join(map(str, pushed[-2:])))
                if opcode.name == "MEMOIZE":
                    memo[len(memo)] = pushed[-1]
                elif opcode.name.endswith("PUT"):
                    memo[argument] = pushed[-1]
                elif opcode.name.endswith("GET"):
                    pushed.append(memo.get(argument))
                else:
                    pushed.append(argument)
        except Exception:
            continue
    return {name for name in blocked if not HARMLESS_GLOBALS.fullmatch(name)}
