"""``convnextpose bench-graph``: what the exact rewritings are worth on this machine."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    models: Annotated[list[str] | None, typer.Argument(help="Models to measure; left out, all declared.")] = None,
    out: Annotated[Path, typer.Option(help="The result is written to OUT/bench-graph.json.")] = Path("build"),
) -> None:
    """Time the deploy graph against a plain export: ONNX Runtime, FP32, one thread, in turns."""
    from bench.graph import measure_graphs
    from cli.console import table
    from cli.side_by_side import interval, measured, show
    from export.config import declared_models

    result = measured(models or declared_models(), out, "bench-graph", measure_graphs)
    shown = table("model", "plain ms", "deploy ms", "speed-up [95 % interval]")
    for row in result["rows"]:
        shown.add_row(row["model"], f"{row['plain_ms']:.2f}", f"{row['deploy_ms']:.2f}", interval(row))
    show(shown, result, out / "bench-graph.json")
