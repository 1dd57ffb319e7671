"""``convnextpose bench-selftest``: whether the harness itself is to be believed on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJson

if TYPE_CHECKING:
    from bench.selftest import Finding
    from cli.console import ConsoleNarrator

STYLE = {"pass": "green", "fail": "red", "inconclusive": "yellow", "not run": "yellow"}


def command(
    model: Annotated[
        Path | None, typer.Argument(help="An exported folder, as build/S; by default the demo checkpoint is exported.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Of the runtimes that are timed.")] = 1,
    budget: Annotated[float, typer.Option(min=1, metavar="S", help="Seconds for each comparison.")] = 150,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Where the findings are written.")] = None,
    as_json: AsJson = False,
) -> None:
    """What timing adds, known delays, recorded rounds replayed, the gate, and agreement with other tools' timers.

    The gate compares a file with itself, once with 5 % of its time planted. OpenVINO's benchmark_app and MLPerf's
    LoadGen time the same loaded model in turns with this harness. Exit 1 if a check fails, 3 if one cannot be decided.
    """
    import json

    from bench.agreement_checks import agreement_checks
    from bench.exported import read_export
    from bench.gate_checks import gate_checks
    from bench.selftest import as_json as plain
    from bench.selftest import selftest
    from cli.alone import measuring_alone
    from cli.console import ConsoleNarrator
    from export.artifacts import write_json

    if model is not None:
        read_export(model)
    narrator = ConsoleNarrator()
    findings: list[Finding] = []
    try:
        with _folder(model, narrator) as folder, measuring_alone():
            findings += selftest(narrator.listener("bench-selftest"))
            exported = read_export(folder)
            for checks in (gate_checks, agreement_checks):
                progress = narrator.listener("bench-selftest")
                findings += checks(exported, threads=threads, budget_s=budget, progress=progress)
    finally:
        narrator.stop()
    record = plain(findings)
    if out is not None:
        write_json(out, record)
    if as_json:
        print(json.dumps(record, indent=2))
    else:
        render(findings)
    require_pass(findings)


@contextmanager
def _folder(model: Path | None, narrator: "ConsoleNarrator") -> Iterator[Path]:
    """The folder that was named, or the demo checkpoint's export, which goes again."""
    import tempfile

    from demo.export import export_demo

    if model is not None:
        yield model
        return
    with tempfile.TemporaryDirectory(prefix="convnextpose-selftest-") as place:
        yield export_demo(Path(place), narrator)


def render(findings: list["Finding"]) -> None:
    """A line a check."""
    from rich.markup import escape

    from cli.console import out, table

    shown = table("check", "read", "wanted", "")
    for of in findings:
        shown.add_row(of.check, escape(of.read), of.wanted, f"[{STYLE[of.outcome]}]{of.outcome}[/]")
    out.print(shown)


def require_pass(findings: list["Finding"]) -> None:
    """The exit code of all checks together; what was not run is no failure.

    Raises:
        CheckFailed: one failed.
        Inconclusive: none failed, but one could not be decided.
    """
    from export.errors import CheckFailed, Inconclusive

    def those(outcome: str) -> str:
        return "; ".join(f"{of.check}: {of.read}, wanted {of.wanted}" for of in findings if of.outcome == outcome)

    do = "try again when nothing else runs"
    if failed := those("fail"):
        raise CheckFailed("the harness misreads this machine", failed, do)
    if undecided := those("inconclusive"):
        raise Inconclusive("it could not be decided whether the harness is to be believed here", undecided, do)
