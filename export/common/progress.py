"""How long work says where it is, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done and, where known, the share that is done (0 to 1)."""

    def __call__(self, text: str, share: float | None = None) -> None:
        """Say what is being done."""


def no_progress(text: str, share: float | None = None) -> None:
    """A listener that says nothing."""


class StepObserver(Protocol):
    """Told about each step of a run."""

    def up_to_date(self, step: str) -> None:
        """The step's result lies there already, from the same inputs."""

    def begin(self, step: str, reason: str) -> Progress:
        """The step runs now, for this reason; returns the listener for its progress."""

    def done(self, step: str, seconds: float) -> None:
        """The step has ended well."""

    def would_run(self, step: str, reason: str) -> None:
        """The step would run, if this were not only a question."""

    def waiting(self, folder: str) -> None:
        """Another run works in this folder; this one begins when that one ends."""


class SilentObserver:
    """An observer that says nothing."""

    def up_to_date(self, step: str) -> None:
        """See ``StepObserver``."""

    def begin(self, step: str, reason: str) -> Progress:
        """See ``StepObserver``."""
        return no_progress

    def done(self, step: str, seconds: float) -> None:
        """See ``StepObserver``."""

    def would_run(self, step: str, reason: str) -> None:
        """See ``StepObserver``."""

    def waiting(self, folder: str) -> None:
        """See ``StepObserver``."""
