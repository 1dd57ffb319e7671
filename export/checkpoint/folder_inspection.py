"""Inspection of every checkpoint below a folder: ``convnextpose inspect DIR``."""

import os
from collections.abc import Sequence
from pathlib import Path

from export.checkpoint.folder_search import FolderSearch, claims_to_be_checkpoint
from export.checkpoint.inspection import inspect_checkpoint
from export.checkpoint.records import Counts, Finding, NearestModel, equal_models
from export.checkpoint.released_files import models_named
from export.common.errors import BadInput, CheckFailed
from export.common.plain import printable, shorten
from export.common.progress import Progress, no_progress
from export.common.records import Record
from export.model.config import declared_models, load_config

SCHEMA_VERSION = "1.0"


class InspectedFile(Record):
    """A checkpoint below the folder, or a file that is none, with the reason."""

    path: str
    claims_to_be_checkpoint: bool
    """True if it is an unpacked folder, or a file with the content or the suffix of a checkpoint."""
    models_by_name: tuple[str, ...]
    """The declared models with a released file of its name, the likeliest first."""
    reason: str | None = None
    """The reason why it cannot be read; None for a checkpoint."""
    sha256: str | None = None
    container: str | None = None
    epoch: int | None = None
    equals: tuple[str, ...] = ()
    """The declared models that its content equals."""
    nearest_models: tuple[NearestModel, ...] = ()
    name_agrees: bool | None = None
    """False if its name is that of other models than its content; None if its name tells no model."""
    compared_with: str | None = None
    """The declared model of the claims that it is compared with."""
    counts: Counts | None = None
    contradicted_claims: tuple[Finding, ...] = ()


class FolderInspection(Record):
    """Every file below a folder, checkpoints first."""

    schema_version: str = SCHEMA_VERSION
    path: str
    entries: int
    """Files and folders that were looked at."""
    complete: bool
    """False if the search ended at its limit."""
    files: tuple[InspectedFile, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """The declared models that a file fits; a published alternative counts as its model."""
        equal = {name for file in self.files for name in file.equals}
        accepted = {
            name: alternative.model for name in declared_models() if (alternative := load_config(name).alternative)
        }
        equal |= {name for name, alternative in accepted.items() if alternative in equal}
        return _in_order(equal - set(accepted.values()))

    @property
    def checkpoints(self) -> tuple[InspectedFile, ...]:
        """The files that could be read."""
        return tuple(file for file in self.files if file.reason is None)


def inspect_folder(search: FolderSearch, progress: Progress = no_progress) -> FolderInspection:
    """Inspect every file that a search has found; one that cannot be read is a row with the reason."""
    files = []
    for number, path in enumerate(search.paths):
        progress(f"reading {path}", number / len(search.paths))
        files.append(_inspect_file(path, search.names(path)))
    files.sort(key=lambda file: (file.reason is not None, not file.claims_to_be_checkpoint, file.path))
    return FolderInspection(
        path=_text(search.folder), entries=search.entries, complete=search.complete, files=tuple(files)
    )


def require_known_checkpoints(folder: FolderInspection) -> None:
    """Check a folder for ``--strict``.

    Raises:
        CheckFailed: a checkpoint equals no declared model, has the name of another one, or cannot be read.
    """
    if wrong := [problem for file in folder.files if (problem := _problem(file))]:
        more = f"; and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        advice = "rename or replace the files, or leave out --strict"
        raise CheckFailed(f"checkpoints in {folder.path} are not as declared", "; ".join(wrong[:8]) + more, advice)


def require_checkpoints(folder: FolderInspection) -> None:
    """Check that the folder holds a checkpoint.

    Raises:
        BadInput: none can be read.
    """
    if not folder.checkpoints:
        value = "; ".join(f"{file.path}: {file.reason}" for file in folder.files[:4])
        raise BadInput(f"no checkpoint in {folder.path} can be read", value, "name a folder of checkpoints")


def _inspect_file(path: Path, names: Sequence[str]) -> InspectedFile:
    by_name = models_named(names)
    claims = claims_to_be_checkpoint(path)
    try:
        inspection = inspect_checkpoint(path, None, {}, names=names)
    except BadInput as refusal:
        reason = printable(shorten(f"{refusal.problem.replace(str(path), 'the file')}: {refusal.detail}"))
        return InspectedFile(
            path=_text(path), claims_to_be_checkpoint=claims, models_by_name=tuple(by_name), reason=reason
        )
    record = inspection.record
    equal = equal_models(record.nearest_models)
    return InspectedFile(
        path=_text(path),
        claims_to_be_checkpoint=claims,
        models_by_name=tuple(by_name),
        sha256=inspection.checkpoint.sha256,
        container=record.container,
        epoch=record.epoch,
        equals=_in_order(equal),
        nearest_models=record.nearest_models,
        name_agrees=bool(equal & set(by_name)) if by_name else None,
        compared_with=inspection.model,
        counts=record.counts,
        contradicted_claims=tuple(claim for claim in record.claims if claim.outcome == "contradicted"),
    )


def _text(path: Path) -> str:
    """Return a path as JSON can hold it; bytes that are no UTF-8 are escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _in_order(models: set[str]) -> tuple[str, ...]:
    return tuple(model for model in declared_models() if model in models)


def _problem(file: InspectedFile) -> str | None:
    if file.reason is not None:
        return f"{file.path}: {file.reason}" if file.claims_to_be_checkpoint else None
    if not file.equals:
        return f"{file.path} equals no declared model"
    return f"{file.path} is {' or '.join(file.equals)}" if file.name_agrees is False else None
