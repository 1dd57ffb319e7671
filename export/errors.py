"""The ways in which a command can end badly, each with its exit code.

Every message has three parts, because a user needs all of them: what failed, the value that was
seen, and what to do about it.
"""


class Failure(Exception):
    """An end that the user is told about in three parts; never shown as a traceback."""

    exit_code = 1

    def __init__(self, what: str, seen: str, do: str) -> None:
        super().__init__(what, seen, do)
        self.what = what
        self.seen = seen
        self.do = do

    def __str__(self) -> str:
        return f"{self.what} — {self.seen} — {self.do}"


class CheckFailed(Failure):
    """A check came out wrong: parity, ``--strict``, a promise not kept."""

    exit_code = 1


class BadInput(Failure):
    """The input or the command line is wrong."""

    exit_code = 2


class Inconclusive(Failure):
    """The check could not decide: too noisy, or an output too flat to compare."""

    exit_code = 3


class NotPossible(Failure):
    """This machine cannot do it: no GPU, a library missing."""

    exit_code = 4
