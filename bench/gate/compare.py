"""Comparison of two exported folders, measured side by side. ``bench.gate.stored`` compares stored results."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import starmap
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.gate.decision import (
    CellSeen,
    Judged,
    Outcome,
    Slowdown,
    allowed_slowdown,
    confidence_of_a_cell,
    confidence_of_a_look,
    control_doubts,
    is_gate_look,
    judge_all,
    judge_cell,
    judge_time,
    last_look,
    slowdown_of,
)
from bench.gate.missing import LOST, absent
from bench.gate.tails import tail_between
from bench.harness.candidates import Candidate, find_candidates, require_some
from bench.harness.entries import Entrant, Entry, Settings
from bench.harness.rounds import Measured
from bench.harness.run import Session, hold_session
from bench.harness.timed_parity import ParityJudge
from bench.machine.environment import read_sensors, share_with, steal_share
from bench.sessions.exported import TORCH_FORMS, ExportFolder
from bench.sessions.gpu_runtimes import is_gpu
from bench.stats.quality import DRIFT, STEAL, THROTTLED
from bench.stats.statistics import Ratio, drift, log_ratios
from bench.stats.stopping import FIRST_LOOK, Stop
from export.common.errors import BadInput
from export.common.progress import Progress, no_progress

BASE, CONTROL, CANDIDATE = "baseline", "baseline#control", "candidate"

Pair = tuple[Candidate, Candidate]
"""What is compared in one cell: the baseline's and the candidate's."""


@dataclass(frozen=True)
class Cell:
    """One backend × precision, compared."""

    id: str
    outcome: Outcome
    reasons: tuple[str, ...]
    slowdown: Slowdown | None
    allowed: float
    control: Ratio | None
    rounds: int
    boundary: str = "host_e2e"
    notes: tuple[str, ...] = ()
    p99: Slowdown | None = None


@dataclass(frozen=True)
class Comparison:
    """All cells, and what they come to."""

    mode: str
    outcome: Outcome
    cells: tuple[Cell, ...]
    complete: bool = True
    reasons: tuple[str, ...] = ()
    """Why it was refused."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"schema_version": "1.0", "kind": "compare", **asdict(self)}


def compare_folders(
    base: ExportFolder,
    candidate: ExportFolder,
    runtimes: Sequence[str],
    precisions: Sequence[str] | None,
    settings: Settings,
    progress: Progress = no_progress,
    alone: AbstractContextManager[None] | None = None,
) -> Comparison:
    """Measure what both have, each cell in a session of its own: baseline, baseline again, candidate.

    The rule's budget is for the rounds of all cells together. What was asked for and cannot be compared is a cell, too.
    ``alone`` is held while the machine is measured, and not for what is refused before that.

    Raises:
        BadInput: the two are not exports of one network, or have nothing in common.
        NotPossible: no runtime that was asked for can be used here.
    """
    ours = find_candidates(base, runtimes, precisions, settings.threads)
    theirs = find_candidates(candidate, runtimes, precisions, settings.threads)
    pairs = [(a, b) for a in ours[0] for b in theirs[0] if a.id == b.id and a.runtime not in TORCH_FORMS]
    lacking = absent(base, candidate, runtimes, ours, theirs)
    if not pairs and LOST not in lacking.values():
        require_some(*ours, runtimes)
        require_some(*theirs, runtimes)
        seen = f"{', '.join(runtimes)}; precisions of the baseline: {', '.join(base.precisions)}"
        raise BadInput("the gate compares nothing of this", seen, "name a runtime that runs exported files")
    with alone or nullcontext():
        found = compare_pairs(base, candidate, pairs, settings, progress)
    outcome = judge_all([Judged(found.outcome), *lacking.values()])
    return replace(found, outcome=outcome, cells=(*found.cells, *starmap(_absent_cell, lacking.items())))


def _absent_cell(name: str, judged: Judged) -> Cell:
    device = "GPU" if is_gpu(name.split("/")[0]) else "CPU"
    return Cell(name, judged.outcome, judged.reasons, None, allowed_slowdown(device, None), None, 0)


def compare_pairs(
    base: ExportFolder,
    candidate: ExportFolder,
    pairs: Sequence[Pair],
    settings: Settings,
    progress: Progress = no_progress,
) -> Comparison:
    """The same for cells that are named: baseline and candidate of each.

    Raises:
        BadInput: the two are not exports of one network.
    """
    _require_comparable(base, candidate)
    cells, complete, left_s = [], True, settings.rule.budget_s
    for index, pair in enumerate(pairs):
        share_s, began = left_s / (len(pairs) - index), time.monotonic()
        rule, decide = replace(settings.rule, budget_s=share_s), decide_on_cell(len(pairs), share_s, pair[0].device)
        settled = replace(settings, rule=rule, decide=decide)
        named = f"{pair[0].id} ({index + 1} of {len(pairs)})"
        session = hold_pair(
            base, candidate, pair, settled, lambda text, share=None, n=named: progress(f"{n}: {text}", share)
        )
        left_s -= min(share_s, time.monotonic() - began)  # what a cell leaves, the next ones have
        cells.append(cell_of(pair, session, len(pairs)))
        complete = session.complete
        if not complete:
            break
    return Comparison("paired", judge_all([Judged(c.outcome) for c in cells]), tuple(cells), complete)


def _require_comparable(base: ExportFolder, candidate: ExportFolder) -> None:
    ours, theirs = base.manifest.architecture, candidate.manifest.architecture
    if (ours.input_size, ours.joints) != (theirs.input_size, theirs.joints):
        seen = f"input {ours.input_size} with {ours.joints} joints, {theirs.input_size} with {theirs.joints}"
        raise BadInput("the two do not do the same work", seen, "compare exports of one model")


def hold_pair(
    base: ExportFolder,
    candidate: ExportFolder,
    pair: Pair,
    settings: Settings,
    progress: Progress,
) -> Session:
    """Measure one cell: baseline, baseline again, candidate.

    Raises:
        BadInput: the two were judged on other images.
    """
    judges = {BASE: ParityJudge(base), CONTROL: ParityJudge(base), CANDIDATE: ParityJudge(candidate)}
    images = judges[BASE].images[: settings.parity_images]
    if not np.array_equal(images, judges[CANDIDATE].images[: settings.parity_images]):
        do = "export both with the same --images, or without"
        raise BadInput("the two were judged on other images", "their truths are of different images", do)
    with tempfile.TemporaryDirectory(prefix="convnextpose-compare-") as folder:
        inputs = Path(folder) / "inputs.npy"
        np.save(inputs, images)
        entrants = [
            Entrant(BASE, pair[0].job(base, inputs), pair[0].precision),
            Entrant(CONTROL, pair[0].job(base, inputs), pair[0].precision),
            Entrant(CANDIDATE, pair[1].job(candidate, inputs), pair[1].precision),
        ]
        precision = pair[0].precision
        return hold_session(
            entrants,
            BASE,
            images,
            lambda name, joints: judges[name](precision, joints),
            settings,
            sensors=read_sensors,
            progress=progress,
        )


def decide_on_cell(cells: int, budget_s: float, device: str) -> Any:
    """When a cell has been measured enough: at a look that decides it, at the last look, or when the time is up."""
    confidence = confidence_of_a_look(cells)

    def decide(measured: Measured, alive: Sequence[str], elapsed_s: float) -> Stop | None:
        if CANDIDATE not in alive:
            return Stop("the candidate was lost", reached=False)
        if is_gate_look(measured.rounds):
            ratio = measured.ratio(BASE, CANDIDATE, confidence)
            control = measured.ratio(BASE, CONTROL)
            allowed = allowed_slowdown(device, control)
            decided = ratio is not None and judge_time(slowdown_of(ratio), allowed) != "INCONCLUSIVE"
            decided = decided and control is not None and not control_doubts(control)
            if decided or measured.rounds >= last_look():
                return Stop("decided" if decided else f"{measured.rounds} rounds did not decide it", reached=decided)
        return Stop(f"{budget_s:g} s were spent", reached=False) if elapsed_s >= budget_s else None

    return decide


def cell_of(pair: Pair, session: Session, cells: int) -> Cell:
    """Judge one cell from what its session has seen."""
    measured, entries = session.measured, session.entries
    control = measured.ratio(BASE, CONTROL)
    ratio = measured.ratio(BASE, CANDIDATE, confidence_of_a_look(cells))
    slowdown = slowdown_of(ratio) if ratio is not None else None
    allowed = allowed_slowdown(pair[0].device, control)
    sizes = (
        (pair[0].artifact.size_bytes, pair[1].artifact.size_bytes) if pair[0].artifact and pair[1].artifact else None
    )
    peaks = [entries[name].memory_mib.get("peak") for name in (BASE, CANDIDATE)]
    memories = (peaks[0], peaks[1]) if peaks[0] is not None and peaks[1] is not None else None
    seen = CellSeen(
        slowdown,
        allowed,
        faults=tuple(entries[CANDIDATE].faults),
        doubts=tuple(_doubts(session, control)),
        sizes=sizes,
        memories_mib=memories,
        precision=pair[0].precision,
        executed=executed(*(entry.loaded.facts for n in (BASE, CANDIDATE) if (entry := entries[n]).loaded)),
        tail=tail_between(measured, BASE, CANDIDATE, confidence_of_a_cell(cells)),
        starts_ms=_starts_ms(pair, entries),
    )
    judged = judge_cell(seen)
    return Cell(
        pair[0].id,
        judged.outcome,
        judged.reasons,
        slowdown,
        allowed,
        control,
        measured.rounds,
        notes=judged.notes,
        p99=seen.tail.slowdown if seen.tail else None,
    )


def executed(*facts: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """What both execute, if both can tell."""
    known = [of["executed"] for of in facts if of.get("executed")]
    return (known[0], known[1]) if len(known) == 2 else None


def _starts_ms(pair: Pair, entries: Mapping[str, Entry]) -> dict[str, tuple[float, float]]:
    """Building the engine, loading (with what the runtime compiles then), and all until the first result."""
    starts: dict[str, tuple[float, float]] = {}
    built = [s for of in pair if of.artifact and (s := of.artifact.details.get("build_seconds")) is not None]
    if len(built) == 2:
        starts["building the engine"] = (built[0] * 1e3, built[1] * 1e3)
    loaded = [[of for n in names if (of := entries[n].loaded)] for names in ((BASE, CONTROL), (CANDIDATE,))]
    if all(loaded):
        load = [median(of.load_s * 1e3 for of in side) for side in loaded]
        cold = [median((of.import_s + of.load_s) * 1e3 + of.first_ms for of in side) for side in loaded]
        starts |= {"loading": (load[0], load[1]), "the cold start": (cold[0], cold[1])}
    return starts


def _doubts(session: Session, control: Ratio | None) -> list[str]:
    """Why this run decides nothing about time."""
    measured = session.measured
    doubts = [f"{n}: {fault}" for n in (BASE, CONTROL) for fault in session.entries[n].faults]
    doubts += [f"{n}: {reason}" for n, entry in session.entries.items() if (reason := entry.not_possible) is not None]
    if not session.complete:
        doubts.append("the run was interrupted")
    if measured.rounds < FIRST_LOOK:
        doubts.append(f"{measured.rounds} rounds, fewer than {FIRST_LOOK}")
    if control is not None:
        doubts += control_doubts(control)
    pairs = measured.paired_ms(BASE, CANDIDATE)
    if len(pairs[0]) and not drift(log_ratios(*pairs)) <= DRIFT:
        doubts.append("the ratio drifted")
    steal = steal_share(measured.sensors)
    if steal is not None and not steal <= STEAL:
        doubts.append(f"{steal:.1%} of the processor time was stolen")
    if not share_with(measured.sensors, "throttled") <= THROTTLED:
        doubts.append("throttled")
    return doubts
