"""``convnextpose bundle``: deployment packages for a device, or for a server."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Batches, WorkspaceMib, lower

if TYPE_CHECKING:
    from export.bundle.triton import Repository
    from export.bundle.write import Bundle


class Form(StrEnum):
    """Kinds of output."""

    zip = "zip"
    triton = "triton"


def command(
    model: Annotated[Path, typer.Argument(help="The folder that `export` filled, as build/S.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="By default MODEL/bundle.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(metavar="fp32,fp16", callback=lower, help="Precisions; by default all that are proven."),
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", help="A folder and its zip archive, or a repository for Triton.")
    ] = Form.zip,
    batches: Batches = "1,1,8",
    workspace_mib: WorkspaceMib = 1024,
) -> None:
    """Write a bundle that builds its engines on the device and verifies itself there, without this project."""
    from cli.console import ConsoleObserver
    from export.bundle.triton import write_triton
    from export.bundle.write import write_bundle
    from export.common.errors import BadInput
    from export.engine.plan import EnginePlan
    from export.pipeline.options import parse_plan
    from export.pipeline.request import parse_precisions

    plan = parse_plan(EnginePlan(), batches, None, workspace_mib)
    if plan.batch_min != 1:
        problem, advice = "a bundle's engines must take one image", "give 1 as the smallest batch"
        raise BadInput(problem, f"--batches {batches}: people come one at a time, and so do goldens", advice)
    precisions = parse_precisions(precision) if precision is not None else None
    place = out or model / "bundle"
    if form is Form.triton:
        _print_triton(write_triton(model, place, precisions, plan))
        return
    with ConsoleObserver() as observer:
        bundle = write_bundle(model, place, precisions, plan, observer.listener("bundle"))
    _print_bundle(bundle)


def _print_bundle(bundle: "Bundle") -> None:
    """Print which files passed the bundle's own verifier, the hashes, and what to do next."""
    from rich.markup import escape

    from cli.render.screen import Screen
    from cli.render.screen import command as command_line
    from export.bundle.text import describe_origin

    contents, rows = bundle.contents, []
    for artifact in contents.onnx:
        passed = [row for row in bundle.verified if row.precision == artifact.precision and row.status == "pass"]
        for result in [f"{row.runtime} {row.reason}" for row in passed] or ["no runtime here runs it"]:
            rows.append((escape(artifact.path), f"{artifact.size_bytes / 1e6:.1f} MB", result))
    size = f"{bundle.archive.stat().st_size / 1e6:.1f} MB"
    Screen(
        head=[
            f"[bold]{escape(contents.model)}[/]: [green]the bundle passed its own verifier on this machine[/]",
            f"weights: {describe_origin(contents.manifest.weights.origin)}",
        ],
        columns=("file", "size", "error on the goldens"),
        rows=rows,
        tail=[
            escape(str(bundle.folder)),
            f"  bundle id  {bundle.id}",
            f"{escape(str(bundle.archive))} ({size})",
            f"  sha256     {bundle.archive_sha256}",
            "Send the id separately; the receiver checks it: python3 verify.py --expect ID",
        ],
        commands=[command_line("verify", bundle.folder)],
    ).show()


def _print_triton(repository: "Repository") -> None:
    from rich.markup import escape

    from cli.console import out

    out.print(escape(str(repository.folder)))
    out.print(f"  cpu/  {', '.join(repository.cpu) or 'none'}")
    out.print(f"  gpu/  {', '.join(repository.gpu)} (plans: sh build-gpu.sh, there)")
