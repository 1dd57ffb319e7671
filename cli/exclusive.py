"""Exclusive use of this machine's processor and GPU by one benchmark."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def exclusive_machine(runtimes: Sequence[str] | None = (), reference: str | None = None) -> Iterator[None]:
    """Wait until no other benchmark of this user runs here, and keep others waiting meanwhile.

    Args:
        runtimes: measured beside those of the processor; None: any that there is.
        reference: the baseline, if the user names one.

    Raises:
        NotPossible: the locks cannot be had; see ``bench.harness.accelerators.lock_folder``.
    """
    from rich.markup import escape

    from bench.harness.accelerators import lock_accelerators
    from cli.console import err

    def waiting(name: str, holder: str) -> None:
        reason = f"another measurement runs on {name}" + (f": {escape(holder)}" if holder else "")
        err.print(f"  [yellow]waiting[/]     {reason} (Ctrl-C gives up)")

    with lock_accelerators(runtimes, reference, waiting):
        yield
