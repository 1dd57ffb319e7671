"""``convnextpose bench-graph``: what the exact rewritings are worth on this machine."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    models: Annotated[list[str] | None, typer.Argument(help="Models to measure; left out, all declared.")] = None,
    out: Annotated[Path, typer.Option(help="The result is written to OUT/bench-graph.json.")] = Path("build"),
) -> None:
    """Time the deploy graph against a plain export: ONNX Runtime, FP32, one thread, in turns."""
    from rich.markup import escape

    from bench.graph import measure_graphs
    from cli.console import ConsoleNarrator, table
    from cli.console import out as console
    from export.artifacts import require_writable, write_json
    from export.config import declared_models, load_config

    names = models or declared_models()
    for name in names:
        load_config(name)
    require_writable(out)  # minutes of measuring must not end in "cannot write"
    narrator = ConsoleNarrator()
    try:
        result = measure_graphs(names, narrator.listener("bench-graph"))
    finally:
        narrator.stop()
    shown = table("model", "plain ms", "deploy ms", "speed-up [95 % interval]")
    for row in result["rows"]:
        interval = f"{row['speed_up']:.2f} [{row['speed_up_low']:.2f}, {row['speed_up_high']:.2f}]"
        shown.add_row(row["model"], f"{row['plain_ms']:.2f}", f"{row['deploy_ms']:.2f}", interval)
    console.print(shown)
    console.print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores, one used; {result['protocol']}")
    write_json(out / "bench-graph.json", result)
    console.print(f"written to {escape(str(out / 'bench-graph.json'))}")
