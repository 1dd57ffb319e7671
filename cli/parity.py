"""``convnextpose parity``: show the error of each exported precision, and trace it through the layers."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson, lower


def command(
    model: Annotated[Path, typer.Argument(help="The folder that `export` wrote, such as build/S.")],
    trace: Annotated[bool, typer.Option("--trace", help="Compare every convolution's output with FP32's.")] = False,
    precision: Annotated[
        str | None,
        typer.Option(metavar="fp16,int8", callback=lower, help="Precisions to trace; by default all but fp32."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the parity that `export` measured; with --trace, name the first layer that departs from FP32."""
    import json

    from bench.sessions.exported import read_export
    from cli.console import ConsoleObserver
    from cli.render.parity import print_parity, print_trace
    from export.common.files import write_json

    exported = read_export(model)
    if not as_json:
        print_parity(exported.manifest)
    records = []
    if trace or precision is not None:
        from export.parity.trace import require_traceable, trace_record
        from export.pipeline.layout import TRUTH

        variants = (
            exported.select_variants(precision)
            if precision is not None
            else [p for p in exported.precisions if p != "fp32"]
        )
        reference = exported.path / exported.onnx("fp32").path
        with ConsoleObserver() as observer:
            for variant in variants:
                require_traceable(variant)
                candidate = exported.path / exported.onnx(variant).path
                observer.listener(f"trace {variant}")("running both graphs")
                record = trace_record(reference, candidate, variant, exported.path / TRUTH)
                write_json(model / "parity" / f"trace-{variant}.json", record)
                records.append(record)
    if as_json:
        reports = [report.model_dump(mode="json") for report in exported.manifest.parity]
        print(json.dumps({"parity": reports, "traces": records}, indent=2))
    else:
        for record in records:
            print_trace(record)
