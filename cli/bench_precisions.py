"""``convnextpose bench-precisions``: what precisions are worth on this machine's CPU."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    models: Annotated[list[str] | None, typer.Argument(help="Models to measure; left out, S and L.")] = None,
    out: Annotated[Path, typer.Option(help="The result is written to OUT/bench-precisions.json.")] = Path("build"),
) -> None:
    """Time OpenVINO in each precision against a plain FP32 export in ONNX Runtime: one thread, in turns."""
    from rich.markup import escape

    from bench.precision_speed import measure_precisions
    from cli.console import ConsoleNarrator, table
    from cli.console import out as console
    from export.artifacts import require_writable, write_json
    from export.config import load_config

    names = models or ["S", "L"]
    for name in names:
        load_config(name)
    require_writable(out)
    narrator = ConsoleNarrator()
    try:
        result = measure_precisions(names, narrator.listener("bench-precisions"))
    finally:
        narrator.stop()
    shown = table("model", "graph and runtime", "median ms", "speed-up [95 % interval]")
    for row in result["rows"]:
        interval = f"{row['speed_up']:.2f} \\[{row['speed_up_low']:.2f}, {row['speed_up_high']:.2f}]"
        shown.add_row(row["model"], row["what"], f"{row['latency_ms']:.2f}", interval)
    console.print(shown)
    console.print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores, one used; {result['protocol']}")
    write_json(out / "bench-precisions.json", result)
    console.print(f"written to {escape(str(out / 'bench-precisions.json'))}")
