"""What can go wrong, in three parts: what failed, the value seen, what to do. Each kind has an exit code."""


class Failure(Exception):
    """An end that the user is told about; programs show ``report()`` in place of a traceback."""

    exit_code = 1

    def __init__(self, what: str, seen: str, do: str) -> None:
        super().__init__(what, seen, do)
        self.what, self.seen, self.do = what, seen, do

    def __str__(self) -> str:
        return f"{self.what} — {self.seen} — {self.do}"

    def report(self) -> str:
        """The parts, a line each."""
        return f"error: {self.what}\nseen:  {self.seen}\ndo:    {self.do}"


class CheckFailed(Failure):
    """A check came out wrong: a file is not the manifest's, joints are off."""


class BadInput(Failure):
    """What was given is wrong."""

    exit_code = 2


class Inconclusive(Failure):
    """The check could not decide."""

    exit_code = 3


class NotPossible(Failure):
    """This device cannot do it: no GPU, a library missing, an engine of another GPU."""

    exit_code = 4
