"""``convnextpose engine``: build an engine from one ONNX file."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import (
    Batches,
    EngineRuntime,
    HardwareCompatible,
    OptimizationLevel,
    Targets,
    Tf32,
    VersionCompatible,
    WorkspaceMib,
    lower,
)


def command(
    onnx: Annotated[Path, typer.Argument(help="An ONNX file with input `image` and output `joints`.")],
    precision: Annotated[
        str | None, typer.Option(metavar="fp32|fp16|…", callback=lower, help="Refuse a file of another precision.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The engine; by default beside the ONNX file.")
    ] = None,
    engine_runtime: EngineRuntime = "auto",
    batches: Batches = "1,1,8",
    targets: Targets = None,
    workspace_mib: WorkspaceMib = 1024,
    optimization_level: OptimizationLevel = 3,
    tf32: Tf32 = False,
    hardware_compatible: HardwareCompatible = False,
    version_compatible: VersionCompatible = False,
) -> None:
    """Build an engine with the runtime that is present; its record and its log are written beside it."""
    from dataclasses import replace

    from rich.markup import escape

    from cli.console import ConsoleObserver
    from cli.console import out as stdout
    from export.engine.build import build_engine
    from export.engine.choice import choose_runtime, complete_plan
    from export.engine.onnx_checks import read_precision
    from export.engine.plan import EnginePlan
    from export.pipeline.options import parse_plan

    options = EnginePlan(
        runtime=engine_runtime,
        precision=precision or "fp32",
        optimization_level=optimization_level,
        tf32=tf32,
        hardware_compatible=hardware_compatible,
        version_compatible=version_compatible,
    )
    plan = parse_plan(options, batches, targets, workspace_mib)
    choice = choose_runtime(plan.runtime)
    complete_plan(plan, choice)  # refuse it before the file is read
    plan = replace(plan, precision=precision or read_precision(onnx) or plan.precision)
    product = choice.product
    engine = out or onnx.with_suffix(product.suffix if product else ".engine")
    with ConsoleObserver() as observer:
        record = build_engine(onnx, engine, plan, observer.listener("engine"))
    for warning in record.warnings:
        stdout.print(f"warning: {escape(warning)}")
    size, took = f"{record.size_bytes / 1e6:.1f} MB", f"{record.build_seconds:.1f} s"
    stdout.print(f"{escape(str(engine))}: {record.precision}, {size}, {escape(record.status)}, in {took}")
