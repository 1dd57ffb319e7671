"""``convnextpose parity``: how far each exported precision is from the reference, and from which layer on."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson


def command(
    model: Annotated[Path, typer.Argument(help="The folder that `export` filled, as build/S.")],
    trace: Annotated[bool, typer.Option("--trace", help="Compare every convolution's output with FP32's.")] = False,
    precision: Annotated[
        str | None, typer.Option(metavar="fp16,int8", help="Which precisions are traced; by default all but fp32.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the parity that `export` measured; with --trace, name the first layer that departs from FP32."""
    import json

    from bench.sessions.exported import read_export
    from cli.console import ConsoleObserver
    from cli.render import tables as render
    from export.common.files import write_json

    exported = read_export(model)
    if not as_json:
        render.parity(exported.manifest)
    records = []
    if trace or precision is not None:
        from export.parity.trace import require_traceable, trace_record
        from export.pipeline.model_steps import TRUTH

        asked = (
            exported.select_variants(precision)
            if precision is not None
            else [p for p in exported.precisions if p != "fp32"]
        )
        reference = exported.path / exported.onnx("fp32").path
        observer = ConsoleObserver()
        try:
            for name in asked:
                require_traceable(name)
                candidate = exported.path / exported.onnx(name).path
                observer.listener(f"trace {name}")("running both graphs")
                record = trace_record(reference, candidate, name, exported.path / TRUTH)
                write_json(model / "parity" / f"trace-{name}.json", record)
                records.append(record)
        finally:
            observer.stop()
    if as_json:
        print(json.dumps({"parity": exported.manifest.parity, "traces": records}, indent=2))
    else:
        for record in records:
            render.trace(record)
