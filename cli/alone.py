"""What the commands that measure have in common: they do so alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def measuring_alone(runtimes: Sequence[str] | None = (), reference: str | None = None) -> Iterator[None]:
    """Wait for other benchmarks of this user on this machine, a fleet's as well, and keep them waiting meanwhile.

    Args:
        runtimes: that will be measured, beside those of the processor; None: any that there is.
        reference: what they are compared with, if it is asked for by name.

    Raises:
        NotPossible: the locks cannot be had; see ``bench.harness.accelerators.machine_folder``.
    """
    from rich.markup import escape

    from bench.harness.accelerators import accelerators_held
    from cli.console import err

    def waiting(name: str, holder: str) -> None:
        what = f"something else is measured on {name}" + (f": {escape(holder)}" if holder else "")
        err.print(f"  [yellow]waiting[/]     {what} (Ctrl-C gives up)", soft_wrap=True)

    with accelerators_held(runtimes, reference, waiting):
        yield
