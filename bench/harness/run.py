"""One benchmark: launches in which everything is timed side by side, passes after them, and no worker left behind."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness.entries import Entrant, Entry, JudgeJoints, Settings
from bench.harness.later_passes import PASSES, start_afresh
from bench.harness.launch import Course, hold_launch
from bench.harness.remote import Remote, end_all
from bench.harness.rounds import Measured
from export.common.progress import Progress, no_progress


@dataclass
class Session:
    """What a benchmark has seen."""

    entries: dict[str, Entry]
    measured: Measured
    launches: int = 1
    """Planned; after Ctrl-C fewer were held."""
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether it was not interrupted."""
        return not self.interrupted and not self.measured.interrupted


def hold_session(
    entrants: Sequence[Entrant],
    reference: str,
    inputs: NDArray[np.uint8],
    judge: JudgeJoints,
    settings: Settings,
    *,
    sensors: Callable[[], Mapping[str, Any]] = dict,
    progress: Progress = no_progress,
) -> Session:
    """Measure all entrants side by side.

    Args:
        entrants: with the reference and its control, each under a name of its own.
        reference: the name of the one that all others are compared with.
        inputs: (N, S, S, 3) RGB pixels, shown in turn.
        judge: decides from each entrant's joints whether it may be timed.
        settings: how.
        sensors: read between rounds.
        progress: is told what is being done.

    Returns:
        What was seen; after Ctrl-C what had been seen by then. No worker is left.
    """
    measured = Measured({entrant.name: [] for entrant in entrants})
    session = Session({entrant.name: Entry() for entrant in entrants}, measured, settings.launches)
    remotes: dict[str, Remote] = {}
    with tempfile.TemporaryDirectory(prefix="convnextpose-bench-") as folder:
        course = Course(entrants, reference, inputs, judge, settings, sensors, progress, Path(folder))
        try:
            _hold_launches(course, session, remotes)
            if session.complete:
                _make_passes(course, session, remotes)
        except KeyboardInterrupt:
            session.interrupted = True
        finally:
            end_all(remotes)
    return session


def _hold_launches(course: Course, session: Session, remotes: dict[str, Remote]) -> None:
    """As many as are planned, as long as there is something to compare."""
    for launch in range(session.launches):
        end_all(remotes)  # those of the launch before
        session.measured.stop = None  # what ended that one was no reason to end it all
        named, before = course, {name: len(entry.faults) for name, entry in session.entries.items()}
        which = f"launch {launch + 1} of {session.launches}: " if session.launches > 1 else ""
        if which:
            named = replace(course, progress=partial(_tell, course.progress, which))
        hold_launch(named, launch, session.entries, session.measured, remotes)
        for name, entry in session.entries.items():
            entry.faults[before[name] :] = [which + fault for fault in entry.faults[before[name] :]]
        sound = [name for name in remotes if not session.entries[name].faults]
        if session.measured.interrupted or course.reference not in sound or len(sound) < 2:
            return


def _tell(progress: Progress, which: str, text: str, share: float | None = None) -> None:
    progress(which + text, share)


def _make_passes(course: Course, session: Session, remotes: Mapping[str, Remote]) -> None:
    there = [entrant for entrant in course.entrants if not entrant.control and entrant.name in remotes]
    for what, make in PASSES.items():
        for entrant in there:
            course.progress(f"{what} of {entrant.name}")
            make(entrant, session.entries[entrant.name], remotes[entrant.name], course.settings)
    for entrant in there if course.settings.cold_starts > 1 else ():
        course.progress(f"starting {entrant.name} afresh")
        start_afresh(entrant, session.entries[entrant.name], course.folder, course.settings)
