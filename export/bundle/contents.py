"""The choice of an export's files for a bundle: those that passed parity and were not changed since."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export.common.errors import BadInput, CheckFailed
from export.common.files import sha256_file
from export.common.interface import PRECISIONS
from export.pipeline.layout import MANIFEST
from export.pipeline.manifest import Artifact, Manifest, read_manifest
from export.pipeline.recipe import PROVEN
from export.pipeline.reports import ParityReport


@dataclass(frozen=True)
class Contents:
    """An export, and the files chosen from it."""

    folder: Path
    manifest: Manifest
    onnx: tuple[Artifact, ...]

    @property
    def model(self) -> str:
        """The model's name, which begins the names of files and folders."""
        return self.manifest.model

    def parity_of(self, onnx: Artifact) -> ParityReport:
        """Return the export's parity report of an ONNX file."""
        return next(report for report in self.manifest.parity if report.artifact == onnx.path)


def choose_contents(folder: Path, precisions: Sequence[str] | None = None) -> Contents:
    """Choose the ONNX files of these precisions (None: all proven); engines are built where they run.

    Graphs with the input format ``uint8`` are left out, since the bundle's runtime crops and normalises by itself.

    Raises:
        BadInput: no export in the folder, a precision that it does not hold, or a file that was changed since.
        CheckFailed: a precision that did not pass parity.
    """
    if not folder.is_dir():
        value = "a file" if folder.exists() else "nothing there"
        raise BadInput(f"{folder} is no exported model", value, "name the folder that `make export` filled, as build/S")
    manifest = read_manifest(folder / MANIFEST)
    files = {a.precision: a for a in manifest.artifacts if a.kind == "onnx" and a.inputs[0].dtype == "float32"}
    chosen = precisions or [precision for precision in PRECISIONS if precision in files]
    advice = f"make it: convnextpose export {manifest.model} --precision {','.join(chosen) or 'fp32'}"
    missing = [precision for precision in chosen if precision not in files]
    if missing or not chosen:
        problem = f"{folder} holds no {', '.join(missing) or 'float32'} ONNX file"
        raise BadInput(problem, f"there: {', '.join(files) or 'none'}", advice)
    onnx = tuple(files[precision] for precision in chosen)
    for artifact in onnx:
        if artifact.status not in PROVEN:
            raise CheckFailed(f"{artifact.path} is not proven", artifact.status, "do not ship it")
    _require_unchanged(folder, onnx, advice)
    return Contents(folder, manifest, onnx)


def pixel_variants(contents: Contents) -> list[Artifact]:
    """Return the proven graphs of the chosen precisions with the input format ``uint8``.

    Raises:
        BadInput: a precision has none, or a file was changed since.
    """
    precisions = {artifact.precision for artifact in contents.onnx}
    artifacts = [
        a
        for a in contents.manifest.artifacts
        if a.kind == "onnx" and a.inputs[0].dtype == "uint8" and a.precision in precisions and a.status in PROVEN
    ]
    chosen = ",".join(sorted(precisions))
    advice = f"make them: convnextpose export {contents.model} --with-preprocess --precision {chosen}"
    if missing := sorted(precisions - {artifact.precision for artifact in artifacts}):
        value = f"no proven one of {', '.join(missing)}"
        raise BadInput("a repository for Triton needs graphs that take pixels", value, advice)
    _require_unchanged(contents.folder, artifacts, advice)
    return artifacts


def _require_unchanged(folder: Path, artifacts: Sequence[Artifact], advice: str) -> None:
    for artifact in artifacts:
        path = folder / artifact.path
        if not path.is_file() or sha256_file(path) != artifact.sha256:
            value = "it was changed since" if path.is_file() else "it is gone"
            raise BadInput(f"{path} is not the file that the manifest describes", value, advice)
