"""What of an export goes into a bundle: files that parity has passed, as the export's manifest knows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export.common.errors import BadInput, CheckFailed
from export.common.files import sha256_file
from export.common.interface import PRECISIONS
from export.engine.record import EngineRecord, beside, read_engine_record
from export.pipeline.manifest import Artifact, Manifest, read_manifest
from export.pipeline.recipe import PROVEN
from export.pipeline.steps import WHOLE
from export.runtime.engine_file import PRODUCTS


@dataclass(frozen=True)
class BundledEngine:
    """An engine that is valid elsewhere."""

    artifact: Artifact
    record: EngineRecord


@dataclass(frozen=True)
class Contents:
    """The export, and what was chosen of it."""

    folder: Path
    manifest: Manifest
    onnx: tuple[Artifact, ...]
    engines: tuple[BundledEngine, ...]

    @property
    def model(self) -> str:
        """The model's name, from which files and folders take theirs."""
        return self.manifest.model

    @property
    def trained(self) -> bool:
        """Whether the weights are anybody's."""
        return self.manifest.weights.origin != "stand-in"


def choose_contents(folder: Path, precisions: Sequence[str] | None = None, *, with_engines: bool = True) -> Contents:
    """Choose the ONNX files of these precisions (None: all that are proven), and engines compiled ahead of time.

    An engine that was tuned on this machine's GPU stays here: it is valid on this machine only. So do graphs that take
    pixels: the runtime crops and normalises by itself.

    Raises:
        BadInput: no export in the folder, a precision that it does not hold, or a file that was changed since.
        CheckFailed: a precision that parity has not passed.
    """
    if not folder.is_dir():
        seen = "a file" if folder.exists() else "nothing there"
        raise BadInput(f"{folder} is no exported model", seen, "name the folder that `make export` filled, as build/S")
    manifest = read_manifest(folder / WHOLE)
    found = {a.precision: a for a in manifest.artifacts if a.kind == "onnx" and a.inputs[0].dtype == "float32"}
    chosen = precisions or [precision for precision in PRECISIONS if precision in found]
    do = f"make it: convnextpose export {manifest.model} --precision {','.join(chosen) or 'fp32'}"
    if missing := [precision for precision in chosen if precision not in found] or (
        ["every one"] if not chosen else []
    ):
        raise BadInput(f"{folder} holds no {missing[0]} ONNX file", f"there: {', '.join(found) or 'none'}", do)
    for precision in chosen:
        if found[precision].status not in PROVEN:
            raise CheckFailed(f"{found[precision].path} is not proven", found[precision].status, "do not ship it")
    onnx = tuple(found[precision] for precision in chosen)
    engines = tuple(_engines(folder, manifest, onnx)) if with_engines else ()
    _require_unchanged(folder, (*onnx, *(engine.artifact for engine in engines)), do)
    return Contents(folder, manifest, onnx, engines)


def pixel_variants(contents: Contents) -> dict[str, Artifact]:
    """Precision → its graph that takes pixels, of those that are chosen, where the export has one that is proven.

    Raises:
        BadInput: a file was changed since, or is gone.
    """
    chosen = {artifact.precision for artifact in contents.onnx}
    found = {
        a.precision: a
        for a in contents.manifest.artifacts
        if a.kind == "onnx" and a.inputs[0].dtype == "uint8" and a.precision in chosen and a.status in PROVEN
    }
    do = f"make it: convnextpose export {contents.model} --with-preprocess"
    _require_unchanged(contents.folder, tuple(found.values()), do)
    return found


def _require_unchanged(folder: Path, artifacts: Sequence[Artifact], do: str) -> None:
    for artifact in artifacts:
        path = folder / artifact.path
        if not path.is_file() or sha256_file(path) != artifact.sha256:
            seen = "it was changed since" if path.is_file() else "it is gone"
            raise BadInput(f"{path} is not what the manifest says of it", seen, do)


def _engines(folder: Path, manifest: Manifest, onnx: Sequence[Artifact]) -> list[BundledEngine]:
    sources = {artifact.sha256 for artifact in onnx}
    ahead = [a for a in manifest.artifacts if a.kind == "engine" and PRODUCTS[a.runtime].ahead_of_time]
    found = [BundledEngine(a, read_engine_record(beside(folder / a.path, ".json"))) for a in ahead]
    return [engine for engine in found if engine.record.onnx_sha256 in sources]
