"""The typer app. Nothing heavy is imported until the command that needs it runs."""

import sys

import typer

from cli import (
    bench,
    bundle,
    claims,
    compare,
    demo,
    doctor,
    engine,
    evaluate,
    export,
    fleet,
    inspect,
    parity,
    predict,
    report,
    verify,
)
from cli.signals import INTERRUPTED, exit_code, install_handlers
from export.common.errors import Failure

app = typer.Typer(
    name="convnextpose",
    help="From a ConvNeXtPose checkpoint of uncertain origin to a proven ONNX file, an engine and latency figures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("export")(export.command)
app.command("inspect")(inspect.command)
app.command("claims")(claims.command)
app.command("parity")(parity.command)
app.command("engine")(engine.command)
app.command("predict")(predict.command)
app.command("evaluate")(evaluate.command)
app.command("demo")(demo.command)
app.command("bundle")(bundle.command)
app.command("verify")(verify.command)
app.command("doctor")(doctor.command)
app.command("bench")(bench.command)
app.command("report")(report.command)
app.command("compare")(compare.command)
app.add_typer(fleet.app, name="fleet")


def run() -> None:
    """Run the command line; a failure prints three lines and ends with its exit code."""
    install_handlers()
    try:
        app()
    except Failure as failure:
        from cli.console import show_failure

        show_failure(failure)
        sys.exit(failure.exit_code)
    except SystemExit as end:  # typer has turned Ctrl-C into this
        if end.code != INTERRUPTED:
            raise
        print("interrupted; finished steps are kept, and the next run continues from there", file=sys.stderr)
        sys.exit(exit_code())


if __name__ == "__main__":
    run()
