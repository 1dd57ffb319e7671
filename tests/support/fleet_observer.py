"""An observer that remembers."""

from export.common.progress import Progress, StepObserver, no_progress


class Steps(StepObserver):
    """Which steps were begun, and which need not be."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.up_to_date_: list[str] = []

    def up_to_date(self, step: str) -> None:
        self.up_to_date_.append(step)

    def begin(self, step: str, reason: str) -> Progress:
        self.begun.append(step)
        return no_progress
