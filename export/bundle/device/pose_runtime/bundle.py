"""A bundle's manifest, and its files with exactly the bytes that the manifest promises."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from pose_runtime.runtime.errors import BadInput, CheckFailed

SCHEMA_VERSION = "1.1"
COPY_AGAIN = "copy the bundle again, or ask for a new one; never run a bundle that was changed"

NEEDED: dict[str, tuple[str, ...]] = {
    "budgets": (),
    "build": ("batches", "workspace_bytes", "optimization_level"),
    "engines": (),
    "golden": ("path", "sha256", "source"),
    "joints": ("names", "bones"),
    "model": (),
    "needed_signal_mm": (),
    "onnx": (),
    "volume": ("heatmap_size", "depth_dim", "input_size", "cube_mm"),
    "weights": ("origin", "sha256", "notice"),
}
"""Keys that the runtime and the verifier read, beside the list of files."""


class Bundle:
    """The manifest of a bundle; no other file is read before it is needed.

    Raises:
        BadInput: the folder holds no bundle, or one of another schema version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            content = (folder / "manifest.json").read_bytes()
            self.manifest: dict[str, Any] = json.loads(content)
            schema = f"{self.manifest['kind']} {self.manifest['schema_version']}"
            self._listed = {entry["path"]: entry for entry in self.manifest["files"]}
        except OSError as error:
            raise BadInput(f"there is no bundle in {folder}", str(error), "name the folder of manifest.json") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadInput(f"{folder}/manifest.json is no manifest of a bundle", repr(error), COPY_AGAIN) from error
        if schema != f"bundle {SCHEMA_VERSION}":
            advice = "use the runtime that came with the bundle"
            raise BadInput(f"{folder} is no bundle of schema {SCHEMA_VERSION}", schema, advice)
        if missing := _missing_keys(self.manifest):
            raise BadInput(f"{folder}/manifest.json lacks what a bundle needs", ", ".join(missing), COPY_AGAIN)
        self.id = hashlib.sha256(content).hexdigest()
        """The SHA-256 of ``manifest.json``, which holds those of all other files."""

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

    def engines(self, runtime: str, precision: str) -> list[dict[str, Any]]:
        """Return the manifest's entries of this runtime's engines of this precision."""
        key = (runtime, precision)
        return [dict(entry) for entry in self.manifest["engines"] if (entry["runtime"], entry["precision"]) == key]

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
            content = self.folder.joinpath(*parts).read_bytes()
        except OSError as error:
            raise CheckFailed(f"{path} cannot be read", error.strerror or str(error), COPY_AGAIN) from error
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise CheckFailed(f"{path} was changed", "its SHA-256 is not the manifest's", COPY_AGAIN)
        return content


def _missing_keys(manifest: dict[str, Any]) -> list[str]:
    """Return the names of ``NEEDED`` that a manifest does not have."""
    missing = []
    for name, parts in NEEDED.items():
        if name not in manifest:
            missing.append(name)
            continue
        value = manifest[name]
        missing += [f"{name}.{part}" for part in parts if not isinstance(value, dict) or part not in value]
    return missing
