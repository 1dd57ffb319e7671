"""The typer app. Nothing heavy is imported until the command that needs it runs."""

import errno
import sys
from importlib import metadata
from typing import Annotated

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
from cli.options import Command, Group
from cli.signals import INTERRUPTED, exit_code, install_handlers, interrupted
from cli.streams import finish_streams, prepare_streams
from export.common.errors import BadInput, Failure
from export.runtime.host import prepare_environment, require_temporary_folder

DISTRIBUTION = "convnextpose-deploy"

app = typer.Typer(
    cls=Group,
    name="convnextpose",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.command("export", cls=Command)(export.command)
app.command("inspect", cls=Command)(inspect.command)
app.command("claims", cls=Command)(claims.command)
app.command("parity", cls=Command)(parity.command)
app.command("engine", cls=Command)(engine.command)
app.command("predict", cls=Command)(predict.command)
app.command("evaluate", cls=Command)(evaluate.command)
app.command("demo", cls=Command)(demo.command)
app.command("bundle", cls=Command)(bundle.command)
app.command("verify", cls=Command)(verify.command)
app.command("doctor", cls=Command)(doctor.command)
app.command("bench", cls=Command)(bench.command)
app.command("report", cls=Command)(report.command)
app.command("compare", cls=Command)(compare.command)
app.add_typer(fleet.app, name="fleet")


UNUSABLE_PATHS = (errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG)
"""Errors that ``Path.exists`` and ``Path.is_dir`` raise for what a user named."""
WITHOUT_TEMPORARY_FILES = ("inspect", "claims", "doctor", "report")


def _print_version(requested: bool) -> None:
    if requested:
        try:
            print(f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}")
        except metadata.PackageNotFoundError:
            print(f"{DISTRIBUTION}, not installed")
        raise typer.Exit


@app.callback(
    help="From a ConvNeXtPose checkpoint of uncertain origin to a proven ONNX file, an engine and latency figures."
)
def prepare(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Check what most commands need, before their work."""
    prepare_environment()
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
