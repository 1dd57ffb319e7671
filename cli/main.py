"""The typer app. Nothing heavy is imported until the command that needs it runs."""

import errno
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
from cli.signals import INTERRUPTED, exit_code, install_handlers, interrupted
from cli.streams import finish_streams, prepare_streams
from export.common.errors import BadInput, Failure
from export.runtime.host import provide_user, require_temporary_folder

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


UNUSABLE_PATHS = (errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG)
"""Errors that ``Path.exists`` and ``Path.is_dir`` raise for what a user named."""
WITHOUT_TEMPORARY_FILES = ("inspect", "claims", "doctor", "report")


@app.callback()
def prepare(context: typer.Context) -> None:
    """Check what most commands need, before their work."""
    provide_user()
    if context.invoked_subcommand not in WITHOUT_TEMPORARY_FILES and "--help" not in sys.argv:
        require_temporary_folder()


def run() -> None:
    """Run the command line; a failure prints three lines and ends with its exit code."""
    prepare_streams()
    install_handlers()
    sys.exit(finish_streams(_exit_code()))


def _exit_code() -> int:
    """Run the command line and return its exit code; an interrupt counts more than any error that follows it."""
    try:
        app()
    except Failure as failure:
        if not interrupted():
            from cli.console import show_failure

            show_failure(failure)
            return failure.exit_code
    except OSError as error:
        if not interrupted():
            if error.errno not in UNUSABLE_PATHS:
                raise
            from cli.console import show_failure

            detail = error.strerror or str(error)
            show_failure(BadInput(f"cannot use the path {error.filename}", detail, "name another file or folder"))
            return BadInput.exit_code
    except SystemExit as end:  # typer has turned Ctrl-C into this
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code != INTERRUPTED and not (code and interrupted()):
            return code
    except Exception:
        if not interrupted():
            raise
    print("interrupted; finished steps are kept, and the next run continues from there", file=sys.stderr)
    return exit_code()


if __name__ == "__main__":
    run()
