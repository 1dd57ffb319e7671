"""A bundle's manifest, and its files with exactly the bytes that the manifest promises."""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any

from pose_runtime.manifest_form import parse_whole, wrong_values
from pose_runtime.runtime.errors import BadInput, CheckFailed
from pose_runtime.runtime.pose import Volume

SCHEMA_VERSION = "1.2"
COPY_AGAIN = "copy the bundle again, or ask for a new one; never run a bundle that was changed"

LARGEST_MANIFEST = 4 << 20


class Bundle:
    """The manifest of a bundle; no other file is read before it is needed.

    Raises:
        BadInput: the folder holds no bundle, or one of another schema version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            content = read_plain(folder / "manifest.json", LARGEST_MANIFEST)
            self.manifest: dict[str, Any] = json.loads(content, parse_int=parse_whole)
            schema = f"{self.manifest['kind']} {self.manifest['schema_version']}"
        except OSError as error:
            raise BadInput(f"there is no bundle in {folder}", str(error), "name the folder of manifest.json") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadInput(f"{folder}/manifest.json is no manifest of a bundle", repr(error), COPY_AGAIN) from error
        if schema != f"bundle {SCHEMA_VERSION}":
            advice = "use the runtime that came with the bundle"
            raise BadInput(f"{folder} is no bundle of schema {SCHEMA_VERSION}", schema, advice)
        if wrong := wrong_values(self.manifest):
            raise BadInput(f"{folder}/manifest.json lacks what a bundle needs", "; ".join(wrong[:5]), COPY_AGAIN)
        self._listed = {entry["path"]: entry for entry in self.manifest["files"]}
        self.id = hashlib.sha256(content).hexdigest()
        """The SHA-256 of ``manifest.json``, which holds those of all other files."""

    @property
    def volume(self) -> Volume:
        """The network's volume."""
        sizes = self.manifest["volume"]
        return Volume(*(sizes[field.name] for field in fields(Volume)))

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that have an ONNX file."""
        return tuple(entry["precision"] for entry in self.manifest["onnx"])

    def onnx(self, precision: str) -> dict[str, Any]:
        """Return the manifest's entry of this precision's ONNX file.

        Raises:
            BadInput: there is none.
        """
        for entry in self.manifest["onnx"]:
            if entry["precision"] == precision:
                return dict(entry)
        raise BadInput(f"no {precision} in this bundle", precision, f"choose of {', '.join(self.precisions)}")

    def content(self, path: str) -> bytes:
        """Return the bytes of a file, read once and compared with the manifest.

        Raises:
            CheckFailed: the manifest does not list it, it lies elsewhere, is gone, or has other bytes.
        """
        entry, parts = self._listed.get(path), PurePosixPath(path).parts
        if entry is None:
            raise CheckFailed(f"{path} is not in the manifest", f"{len(self._listed)} files are", COPY_AGAIN)
        if not parts or ".." in parts or PurePosixPath(path).is_absolute() or "\\" in path:
            raise CheckFailed("the manifest names a file outside of the bundle", path, COPY_AGAIN)
        try:
            content = read_plain(self.folder.joinpath(*parts), entry["size_bytes"])
        except OSError as error:
            raise CheckFailed(f"{path} cannot be read", error.strerror or str(error), COPY_AGAIN) from error
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise CheckFailed(f"{path} was changed", "its SHA-256 is not the manifest's", COPY_AGAIN)
        return content


def read_plain(path: Path, most: int) -> bytes:
    """Return the bytes of a plain file; its type and its size are checked first.

    Raises:
        OSError: it cannot be read, is no plain file, or has more bytes than ``most``.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError("no plain file")
    if status.st_size > most:
        raise OSError(f"{status.st_size} bytes, expected at most {most}")
    return path.read_bytes()
