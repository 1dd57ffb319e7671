"""Errors that a user is told about, each with its exit code."""


class Failure(Exception):
    """An error in three parts: what failed, the value found, what to do. Programs show it without a traceback."""

    exit_code = 1

    def __init__(self, what: str, seen: str, do: str) -> None:
        super().__init__(what, seen, do)
        self.what = what
        self.seen = seen
        self.do = do

    def __str__(self) -> str:
        return f"{self.what} — {self.seen} — {self.do}"

    def report(self) -> str:
        """Return the three parts, one per line."""
        return f"error: {self.what}\nseen:  {self.seen}\ndo:    {self.do}"


class CheckFailed(Failure):
    """A failed check: parity, ``--strict``, a file that is not the manifest's."""

    exit_code = 1


class BadInput(Failure):
    """A wrong input or command line."""

    exit_code = 2


class Inconclusive(Failure):
    """A check that cannot decide: too noisy, or an output too flat to compare."""

    exit_code = 3


class NotPossible(Failure):
    """A task that this machine cannot do: no GPU, a library missing."""

    exit_code = 4
