"""Checkpoints that somebody or something has spoilt. Each function writes one and returns its path."""

import gzip
import io
import os
import pickle
import shutil
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from tests.support.checkpoints import Form, State, alive_weights, spelled, write

Builder = Callable[[Path], Path]
Pack = Callable[[Path, Any, int], Path]


def good(path: Path, form: Form = "zip") -> Path:
    return write(path, spelled(alive_weights()), form)


def saved(path: Path, content: Any, protocol: int = 2) -> Path:
    torch.save(content, path, pickle_protocol=protocol)
    return path


def wrote(path: Path, content: bytes | bytearray) -> Path:
    path.write_bytes(content)
    return path


def holding(content: bytes) -> Builder:
    return lambda path: wrote(path, content)


def content(make: Callable[[], Any]) -> Builder:
    """A sound zip that holds the wrong thing."""
    return lambda path: saved(path, make())


def damaged(damage: Callable[[State], None], form: Form = "bare") -> Builder:
    """A sound file whose state dict (canonical names, before the prefix) was tampered with."""

    def build(path: Path) -> Path:
        state = alive_weights()
        damage(state)
        return write(path, {"module." + name: tensor for name, tensor in state.items()}, form)

    return build


# ── torn and flipped ─────────────────────────────────────────────────────────────────────────────────────────────────


def truncated(form: Form, share: float) -> Builder:
    def build(path: Path) -> Path:
        whole = good(path, form).read_bytes()
        return wrote(path, whole[: int(len(whole) * share)])

    return build


def flipped(path: Path, position: int, mask: int = 0x10) -> Path:
    """One byte of the file changed."""
    data = bytearray(path.read_bytes())
    data[position] ^= mask
    return wrote(path, data)


def flipped_record(record: str) -> Builder:
    """A flipped bit in the middle of one record of a zip; its checksum is left as it was."""

    def build(path: Path) -> Path:
        data = good(path).read_bytes()
        with zipfile.ZipFile(path) as archive:
            [info] = [i for i in archive.infolist() if i.filename.endswith("/" + record)]
        name, extra = struct.unpack("<HH", data[info.header_offset + 26 : info.header_offset + 30])
        return flipped(path, info.header_offset + 30 + name + extra + info.file_size // 2)

    return build


def in_folder(pattern: str, change: Callable[[Path], object]) -> Builder:
    """An unpacked checkpoint in which one record was changed."""

    def build(path: Path) -> Path:
        [file] = good(path, "folder").glob(f"*/{pattern}")
        change(file)
        return path

    return build


def with_undecodable_name(path: Path) -> Path:
    """A flipped bit in an entry's name, in the table of contents: no UTF-8 any more."""
    return flipped(path, good(path).read_bytes().index(b"PK\x01\x02") + 46 + 3, 0x80)


# ── other things than checkpoints ────────────────────────────────────────────────────────────────────────────────────


def tar(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("snapshot_83.pth")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"abcd"))
    return path


def gzipped(path: Path) -> Path:
    return wrote(path, gzip.compress(good(path).read_bytes()))


def foreign_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ConvNeXtPose_L.tar", b"the file itself is in here")
    return path


def folder_of_anything(path: Path) -> Path:
    path.mkdir()
    wrote(path / "photo.jpg", b"\xff\xd8")
    return path


# ── hostile archives and folders ─────────────────────────────────────────────────────────────────────────────────────


def with_entry(name: str, mode: int = 0) -> Builder:
    """A sound checkpoint with one more entry."""

    def build(path: Path) -> Path:
        with zipfile.ZipFile(good(path), "a") as archive:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, "/etc/passwd")
        return path

    return build


LINK = stat.S_IFLNK | 0o777


def with_entry_twice(path: Path) -> Path:
    with zipfile.ZipFile(good(path), "a") as archive:
        archive.writestr("file/version", "4\n")
    return path


def bomb(path: Path) -> Path:
    """Two entries that say that they unpack to almost 4 GiB each."""
    with zipfile.ZipFile(good(path), "a", zipfile.ZIP_DEFLATED) as archive:
        for name in ("zeros", "more"):
            archive.writestr(name, bytes(1000))
    data = path.read_bytes()
    position = data.index(b"PK\x01\x02")
    while (position := data.find(b"PK\x01\x02", position + 1)) > 0:
        if data[position + 46 : position + 50] in (b"zero", b"more"):
            data = data[: position + 24] + struct.pack("<I", 0xFFFF_FFF0) + data[position + 28 :]
    return wrote(path, data)


def link_outside(inside: Path) -> None:
    """Replace a record by a link to the same thing outside of the checkpoint."""
    whole = [parent for parent in inside.parents if parent.name == "file"][-1]
    outside = whole.with_name("outside")
    inside.rename(outside)
    inside.symlink_to(outside)


def with_link(target: str) -> Builder:
    """A sound unpacked folder with a link beside its records."""
    return in_folder("data.pkl", lambda inside: inside.with_name("link").symlink_to(target))


# ── hostile pickles ──────────────────────────────────────────────────────────────────────────────────────────────────


class Calls:
    """Pickled, it becomes the call of ``function`` when it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def hostile_content(calls: Iterable[Calls]) -> dict[str, Any]:
    """The released layout, with calls where nobody looks."""
    return {"epoch": 83, "network": spelled(alive_weights()), "optimizer": {"state": list(calls)}}


def as_zip(path: Path, value: Any, protocol: int) -> Path:
    return saved(path, value, protocol)


def as_legacy(path: Path, value: Any, protocol: int) -> Path:
    torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    return path


def as_folder(path: Path, value: Any, protocol: int) -> Path:
    packed = saved(path.with_name("packed"), value, protocol)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(path)
    packed.unlink()
    return path


def as_rezipped(path: Path, value: Any, protocol: int) -> Path:
    folder = as_folder(path.with_name("unpacked"), value, protocol)
    made = shutil.make_archive(str(path.with_name("again")), "zip", folder)
    shutil.rmtree(folder)
    return Path(made).rename(path)


def as_plain_pickle(path: Path, value: Any, protocol: int) -> Path:
    return wrote(path, pickle.dumps(value["optimizer"], protocol))


PACKS: dict[str, Pack] = {
    "zip": as_zip,
    "rezipped": as_rezipped,
    "legacy": as_legacy,
    "folder": as_folder,
    "plain pickle": as_plain_pickle,
}


def with_pickle(pickled: bytes) -> Builder:
    """A zip whose ``data.pkl`` is written by hand."""

    def build(path: Path) -> Path:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/version", "3\n")
        return path

    return build


def payloads(marker: Path) -> dict[str, tuple[Calls, str]]:
    """Name → a call that would leave ``marker``, and how its global may be called in the error."""
    write_marker = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": (Calls(os.system, f"touch '{marker}'"), rf"{os.system.__module__}\.system"),
        "eval": (Calls(eval, write_marker), r"(builtins|__builtin__)\.eval"),
        "exec": (Calls(exec, write_marker), r"(builtins|__builtin__)\.exec"),
        "Path.touch": (
            Calls(Path.touch, marker),
            r"(builtins|__builtin__)\.getattr.*pathlib\.\w*Path|pathlib\.Path\.touch",
        ),
        "shutil.copy": (Calls(shutil.copy, "/etc/hostname", str(marker)), r"shutil\.copy"),
    }
