"""Errors that programs show to the user, each with its exit code."""


class Failure(Exception):
    """An error in three parts: what failed, the value found, what to do. Programs show it without a traceback."""

    exit_code = 1

    def __init__(self, problem: str, detail: str, advice: str) -> None:
        super().__init__(problem, detail, advice)
        self.problem, self.detail, self.advice = problem, detail, advice

    def __str__(self) -> str:
        return f"{self.problem} — {self.detail} — {self.advice}"

    def report(self) -> str:
        """Return the three parts, one per line."""
        return f"error: {self.problem}\nfound: {self.detail}\ntry:   {self.advice}"


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
