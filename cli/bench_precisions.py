"""``convnextpose bench-precisions``: what precisions are worth on this machine's CPU."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    models: Annotated[list[str] | None, typer.Argument(help="Models to measure; left out, S and L.")] = None,
    out: Annotated[Path, typer.Option(help="The result is written to OUT/bench-precisions.json.")] = Path("build"),
) -> None:
    """Time OpenVINO in each precision against a plain FP32 export in ONNX Runtime: one thread, in turns."""
    from bench.precision_speed import measure_precisions
    from cli.console import table
    from cli.side_by_side import interval, measured, show

    result = measured(models or ["S", "L"], out, "bench-precisions", measure_precisions)
    shown = table("model", "graph and runtime", "median ms", "speed-up [95 % interval]")
    for row in result["rows"]:
        shown.add_row(row["model"], row["what"], f"{row['latency_ms']:.2f}", interval(row))
    show(shown, result, out / "bench-precisions.json")
