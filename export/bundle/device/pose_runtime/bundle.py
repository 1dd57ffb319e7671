"""A bundle on this device: its manifest, and its files with exactly the bytes that the manifest promises."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from pose_runtime.runtime.errors import BadInput, CheckFailed

SCHEMA_VERSION = "1.0"
COPY_AGAIN = "copy the bundle again, or ask for a new one; never run one that was changed"


NEEDED: dict[str, tuple[str, ...]] = {
    "budgets": (),
    "build": ("batches", "workspace_bytes", "optimization_level"),
    "engines": (),
    "golden": ("path", "sha256", "source"),
    "int8_probe": ("path", "sha256"),
    "joints": ("names", "bones"),
    "model": (),
    "needed_signal_mm": (),
    "onnx": (),
    "preprocessing": ("input_size", "mean", "std", "box_margin"),
    "volume": ("heatmap_size", "depth_dim", "cube_mm"),
    "weights": ("origin", "sha256", "notice"),
}
"""What is read of a manifest beside its list of files, here and by the verifier."""


class Bundle:
    """The manifest of ``folder``; nothing else is read before it is asked for.

    Raises:
        BadInput: no bundle lies there, or one of another schema version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
            found = (self.manifest["kind"], self.manifest["schema_version"])
            self._listed = {entry["path"]: entry for entry in self.manifest["files"]}
        except OSError as error:
            raise BadInput(
                f"there is no bundle in {folder}", str(error), "name the folder with manifest.json"
            ) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadInput(f"{folder}/manifest.json is no manifest of a bundle", repr(error), COPY_AGAIN) from error
        if found != ("bundle", SCHEMA_VERSION):
            do = "use the runtime that came with the bundle"
            raise BadInput(f"{folder} is no bundle of schema {SCHEMA_VERSION}", " ".join(map(str, found)), do)
        if lacking := _lacking(self.manifest):
            raise BadInput(f"{folder}/manifest.json lacks what a bundle needs", ", ".join(lacking), COPY_AGAIN)

    @property
    def id(self) -> str:
        """The SHA-256 of ``manifest.json``, which holds those of all other files."""
        return hashlib.sha256((self.folder / "manifest.json").read_bytes()).hexdigest()

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those of which there is an ONNX file."""
        return tuple(entry["precision"] for entry in self.manifest["onnx"])

    def onnx(self, precision: str) -> dict[str, Any]:
        """What the manifest says of this precision's ONNX file.

        Raises:
            BadInput: there is none.
        """
        for entry in self.manifest["onnx"]:
            if entry["precision"] == precision:
                return dict(entry)
        raise BadInput(f"no {precision} in this bundle", precision, f"choose of {', '.join(self.precisions)}")

    def engines(self, runtime: str, precision: str) -> list[dict[str, Any]]:
        """What the manifest says of this runtime's engines of this precision."""
        wanted = (runtime, precision)
        return [dict(entry) for entry in self.manifest["engines"] if (entry["runtime"], entry["precision"]) == wanted]

    def content(self, path: str) -> bytes:
        """The bytes of a file, read once and compared with the manifest: what is returned is what was checked.

        Raises:
            CheckFailed: the manifest does not list it, it lies elsewhere, is gone, or has other bytes.
        """
        entry, parts = self._listed.get(path), PurePosixPath(path).parts
        if entry is None:
            raise CheckFailed(f"{path} is not in the manifest", f"{len(self._listed)} files are", COPY_AGAIN)
        if not parts or ".." in parts or PurePosixPath(path).is_absolute() or "\\" in path:
            raise CheckFailed("the manifest names a file outside of the bundle", path, COPY_AGAIN)
        try:
            content = self.folder.joinpath(*parts).read_bytes()
        except OSError as error:
            raise CheckFailed(f"{path} cannot be read", error.strerror or str(error), COPY_AGAIN) from error
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise CheckFailed(f"{path} was changed", "its SHA-256 is not the manifest's", COPY_AGAIN)
        return content


def _lacking(manifest: dict[str, Any]) -> list[str]:
    """The names of ``NEEDED`` that a manifest does not have."""
    lacking = []
    for name, parts in NEEDED.items():
        if name not in manifest:
            lacking.append(name)
        elif parts:
            held = manifest[name] if isinstance(manifest[name], dict) else {}
            lacking += [f"{name}.{part}" for part in parts if part not in held]
    return lacking
