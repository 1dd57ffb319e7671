"""Progress of long work, reported to callbacks."""

from typing import Protocol

NO_RESULT = "no previous result"
"""The reason of a step that runs for the first time."""


class Progress(Protocol):
    """A callback for the current activity and, where known, the share that is done (0 to 1)."""

    def __call__(self, text: str, share: float | None = None) -> None:
        """Report the current activity."""


def no_progress(text: str, share: float | None = None) -> None:
    """Ignore the report."""


class StepObserver:
    """Observer of the steps of a run; this one ignores them."""

    model = ""
    """Name of the model at work, if a run has several."""

    def up_to_date(self, step: str) -> None:
        """Report a step that need not run: it has a result from the same inputs."""

    def begin(self, step: str, reason: str) -> Progress:
        """Report that a step runs now, and return the callback for its progress."""
        return no_progress

    def done(self, step: str, seconds: float) -> None:
        """Report a step that succeeded."""

    def failed(self, step: str, problem: str) -> None:
        """Report a step that failed; the caller decides whether the run goes on."""

    def would_run(self, step: str, reason: str) -> None:
        """Report a step that would run; the caller only asked."""

    def waiting(self, folder: str) -> None:
        """Report that another run holds the lock of this folder."""
