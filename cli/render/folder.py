"""Output of ``inspect`` on a folder: every checkpoint below it, on one screen."""

import os
from collections.abc import Iterator

from rich.markup import escape

from cli.render.screen import Screen, command, shorten
from cli.render.text import safe
from export.checkpoint.folder_inspection import FolderInspection, InspectedFile
from export.common.plain import group_names, listed
from export.pipeline.options import describe_nearest

NAME_WIDTH = 27
"""Columns of a file's name in the table."""


def print_folder(folder: FolderInspection, notice: str | None) -> None:
    """Print a row for each file, what its name or claims have wrong, and what to do next.

    Args:
        folder: the inspection.
        notice: that the search ended at its limit.
    """
    checkpoints = folder.checkpoints
    refused = [file for file in folder.files if file.reason is not None and file.claims_to_be_checkpoint]
    further = [
        os.path.relpath(file.path, folder.path)
        for file in folder.files
        if not file.claims_to_be_checkpoint and file.reason
    ]
    count = f"{len(checkpoints)} checkpoint{'' if len(checkpoints) == 1 else 's'}"
    count += f", [yellow]{len(refused)} not usable[/]" if refused else ""
    export = [command("export", ",".join(folder.models), "--weights", folder.path)] if folder.models else []
    Screen(
        head=[f"[bold]{safe(folder.path)}[/]: {count}"],
        columns=("file", "container", "equals", "name", "contradicts"),
        rows=[_row(folder, file) for file in (*checkpoints, *refused)],
        tail=[*_points(folder), *_contradictions(folder)],
        box=[notice] if notice else [],
        details="--json" + (f"; other files: {listed(further)}" if further else ""),
        commands=[*export, *(command("inspect", file.path) for file in checkpoints[:1])],
    ).show()


def _row(folder: FolderInspection, file: InspectedFile) -> tuple[str, ...]:
    name = _short(folder, file)
    if file.reason is not None:
        return name, "[yellow]not usable[/]", "–", "–", "–"
    says = f"[yellow]says {file.models_by_name[0]}[/]" if file.models_by_name else "–"
    if file.name_agrees:
        says = "[green]agrees[/]"
    claims = len(file.contradicted_claims)
    equal = ", ".join(file.equals) or "[yellow]none[/]"
    return name, file.container or "–", equal, says, f"{claims} claim{'s' if claims > 1 else ''}" if claims else "–"


def _points(folder: FolderInspection) -> Iterator[str]:
    """Yield what is wrong with files, the most important first."""
    for file in folder.files:
        if file.reason is not None and file.claims_to_be_checkpoint:
            yield f"[yellow]{_short(folder, file)}[/] {safe(shorten(file.reason))}"
    for file in folder.checkpoints:
        if not file.equals:
            yield f"[yellow]{_short(folder, file)}[/] nearest: {escape(describe_nearest(file.nearest_models))}"
        elif file.name_agrees is False:
            content, name = " and ".join(file.equals), file.models_by_name[0]
            yield f"[yellow]{_short(folder, file)}[/] is {content}; its name says {name}"
    first: dict[str, InspectedFile] = {}
    for file in folder.checkpoints:
        if file.sha256 is not None and (same := first.setdefault(file.sha256, file)) is not file:
            yield f"{_short(folder, file)} has the same bytes as {_short(folder, same)}"


def _contradictions(folder: FolderInspection) -> Iterator[str]:
    """Yield the claims that each file contradicts, by source."""
    for file in folder.checkpoints:
        fields = group_names((claim.field, claim.source) for claim in file.contradicted_claims)
        claims = "; ".join(f"{source}: {', '.join(names)}" for source, names in fields.items())
        if claims:
            yield f"[yellow]{_short(folder, file)}[/] contradicts claims about {file.compared_with}: {escape(claims)}"


def _short(folder: FolderInspection, file: InspectedFile) -> str:
    name = os.path.relpath(file.path, folder.path)
    return safe(name if len(name) <= NAME_WIDTH else "…" + name[1 - NAME_WIDTH :])
