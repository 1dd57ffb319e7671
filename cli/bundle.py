"""``convnextpose bundle``: what leaves this machine for a device, or for a server."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Batches, WorkspaceMib

if TYPE_CHECKING:
    from export.bundle.triton import Repository
    from export.bundle.write import Bundle


class Form(StrEnum):
    """What is written."""

    folder = "folder"
    zip = "zip"
    triton = "triton"


def command(
    model: Annotated[Path, typer.Argument(help="The folder that `export` filled, as build/S.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="By default MODEL/bundle.")] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="fp32,fp16", help="Which precisions; by default all that are proven.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Crops of people for the goldens, in place of drawn figures.")
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", help="A folder, the folder and its zip archive, or a repository for Triton.")
    ] = Form.zip,
    with_engines: Annotated[
        bool | None,
        typer.Option("--with-engines/--without-engines", help="Engines of TensorRT-RTX, if the export has any."),
    ] = None,
    batches: Batches = "1,1,8",
    workspace_mib: WorkspaceMib = 1024,
) -> None:
    """Write a bundle that builds its engines on the device and proves itself there, without this project."""
    from cli.console import ConsoleObserver
    from export.bundle.triton import write_triton
    from export.bundle.write import BundlePlan, write_bundle
    from export.common.errors import BadInput
    from export.engine.plan import EnginePlan
    from export.pipeline.options import parse_plan
    from export.pipeline.request import parse_precisions

    plan = parse_plan(EnginePlan(), batches, None, workspace_mib)
    if plan.batch_min != 1:
        what, do = "a bundle's engines must take one image", "give 1 as the smallest batch"
        raise BadInput(what, f"--batches {batches}: people come one at a time, and goldens are run so", do)
    chosen = parse_precisions(precision) if precision is not None else None
    place = out or model / "bundle"
    if form is Form.triton:
        if images is not None:
            raise BadInput("a repository for Triton has no goldens", f"--images {images}", "leave it out")
        if with_engines is not None:
            seen = "--with-engines" if with_engines else "--without-engines"
            raise BadInput("a repository for Triton brings no engines", f"{seen}: servers build them", "leave it out")
        _show_triton(write_triton(model, place, chosen, plan))
        return
    observer = ConsoleObserver()
    asked = BundlePlan(chosen, with_engines is not False, images, form is Form.zip, plan)
    try:
        written = write_bundle(model, place, asked, observer.listener("bundle"))
    finally:
        observer.stop()
    _show_bundle(written)


def _show_bundle(written: "Bundle") -> None:
    from rich.markup import escape

    from cli.console import out, table
    from export.bundle.manifest import NOTICES

    origin = written.contents.manifest.weights.origin
    notice = NOTICES[origin]
    out.print(f"weights: [bold]{origin}[/]" + (f" — {notice}" if notice else ""))
    shown = table("file", "precision", "size", "proven here, by the bundle's own verifier")
    for onnx in written.contents.onnx:
        rows = [row for row in written.verified["results"] if row["precision"] == onnx.precision]
        said = "; ".join(f"{row['runtime']} {row['reason']}" for row in rows if row["status"] == "pass")
        shown.add_row(
            escape(onnx.path), onnx.precision, f"{onnx.size_bytes / 1e6:.1f} MB", said or "nothing here runs it"
        )
    for engine in written.contents.engines:
        artifact = engine.artifact
        shown.add_row(escape(artifact.path), artifact.precision, f"{artifact.size_bytes / 1e6:.1f} MB", artifact.status)
    out.print(shown)
    out.print(f"{escape(str(written.folder))}\n  bundle id  {written.id}", soft_wrap=True)
    if written.archive is not None:
        size = f"{written.archive.stat().st_size / 1e6:.1f} MB"
        out.print(f"{escape(str(written.archive))} ({size})\n  sha256     {written.archive_sha256}", soft_wrap=True)
    out.print("tell the receiver the id by another way than the bundle goes; there: python3 verify.py --expect ID")


def _show_triton(written: "Repository") -> None:
    from rich.markup import escape

    from cli.console import out

    out.print(f"{escape(str(written.folder))}", soft_wrap=True)
    out.print(
        f"  cpu/  {', '.join(written.cpu) or 'none'}\n  gpu/  {', '.join(written.gpu)} (plans: sh build-gpu.sh, there)"
    )
