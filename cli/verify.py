"""``convnextpose verify``: a bundle's own verifier, after a comparison of its files with its manifest."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.options import lower


def command(
    bundle: Annotated[Path, typer.Argument(help="The folder that `bundle` wrote.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The report; by default device-report.json in the bundle.")
    ] = None,
    expect: Annotated[str | None, typer.Option(metavar="ID", help="Refuse a bundle with another id.")] = None,
    runtime: Annotated[
        str | None, typer.Option(metavar="onnxruntime,…", callback=lower, help="Only these; each must run.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="fp16,…", callback=lower, help="Only these; each must run.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Processor threads; by default as many as this process may use.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Duration of the latency measurement, by default 20; 0 leaves it out.")
    ] = None,
    no_build: Annotated[bool, typer.Option("--no-build", help="Build no engine, even if one is missing.")] = False,
    hashes_only: Annotated[
        bool, typer.Option("--hashes-only", help="Compare the files with the manifest, and end.")
    ] = False,
    show_id: Annotated[
        bool, typer.Option("--id", help="Print the bundle's id, the SHA-256 of its manifest, and end.")
    ] = False,
) -> None:
    """Verify a bundle on this machine as its receivers do: hashes, parity in mm, latency, device-report.json."""
    from cli.render.screen import command as command_line
    from cli.render.screen import print_next
    from export.bundle.verify import verify_bundle
    from export.common.errors import Inconclusive

    values: dict[str, object] = {"--out": out and out.absolute(), "--runtime": runtime, "--precision": precision}
    values |= {"--threads": threads, "--seconds": seconds}
    flags = {"--no-build": no_build, "--hashes-only": hashes_only, "--id": show_id}
    arguments = [part for name, value in values.items() if value is not None for part in (name, str(value))]
    arguments += [name for name, is_set in flags.items() if is_set]
    status = verify_bundle(bundle, arguments, expect)
    if not (hashes_only or show_id) and status in (0, Inconclusive.exit_code):
        sys.stdout.flush()
        print_next([command_line("report", out or bundle / "device-report.json")])
    if status:
        raise typer.Exit(status)
