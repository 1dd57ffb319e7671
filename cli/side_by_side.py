"""What the commands share that time graphs side by side on this machine."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Measure = Callable[[list[str], Any], dict[str, Any]]
"""(models, progress) → the result, as ``bench.interleaved.single_thread_record`` makes it."""


def measured(models: Sequence[str], out: Path, title: str, measure: Measure) -> dict[str, Any]:
    """Measure, and write ``OUT/<title>.json``; what cannot be is refused before the minutes that measuring takes.

    Raises:
        BadInput: an unknown model, or a folder that cannot be written.
    """
    from cli.alone import measuring_alone
    from cli.console import ConsoleNarrator
    from export.artifacts import require_writable, write_json
    from export.config import load_config

    for name in models:
        load_config(name)
    require_writable(out)
    narrator = ConsoleNarrator()
    with measuring_alone():
        try:
            result = measure(list(models), narrator.listener(title))
        finally:
            narrator.stop()
    write_json(out / f"{title}.json", result)
    return result


def interval(row: dict[str, Any]) -> str:
    """``1.78 [1.74, 1.84]``, for a table."""
    return f"{row['speed_up']:.2f} \\[{row['speed_up_low']:.2f}, {row['speed_up_high']:.2f}]"


def show(shown: Any, result: dict[str, Any], path: Path) -> None:
    """The table, how it was taken and on what, and where it was written."""
    from rich.markup import escape

    from cli.console import out as console

    console.print(shown)
    console.print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores, one used; {result['protocol']}")
    console.print(f"written to {escape(str(path))}")
