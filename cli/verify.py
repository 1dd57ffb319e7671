"""``convnextpose verify``: a bundle's own verifier, after its files were compared with its manifest."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    bundle: Annotated[Path, typer.Argument(help="The folder that `bundle` wrote.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The report; by default device-report.json in the bundle.")
    ] = None,
    expect: Annotated[str | None, typer.Option(metavar="ID", help="Refuse a bundle with another id.")] = None,
    runtime: Annotated[str | None, typer.Option(metavar="onnxruntime,…", help="Only these.")] = None,
    precision: Annotated[str | None, typer.Option(metavar="fp16,…", help="Only these.")] = None,
    seconds: Annotated[float, typer.Option(help="How long latency is measured; 0 leaves it out.")] = 20.0,
    build: Annotated[bool, typer.Option("--build/--no-build", help="Build engines that are missing.")] = True,
) -> None:
    """Verify a bundle on this machine as its receivers do: hashes, parity in mm, latency, device-report.json."""
    from export.bundle.verify import verify_bundle

    arguments = ["--seconds", str(seconds), *(() if build else ("--no-build",))]
    for name, value in (("--out", out and out.absolute()), ("--runtime", runtime), ("--precision", precision)):
        arguments += [name, str(value)] if value is not None else []
    if status := verify_bundle(bundle, arguments, expect):
        raise typer.Exit(status)
