"""Baseline against candidate: two exported folders measured side by side, or two stored results."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.candidates import Candidate, find_candidates
from bench.environment import identity, read_sensors, share_with, steal_share
from bench.exported import TORCH_FORMS, ExportFolder
from bench.gate import (
    CellSeen,
    Judged,
    Outcome,
    Slowdown,
    allowed_slowdown,
    confidence_of_a_cell,
    control_doubts,
    is_gate_look,
    judge_all,
    judge_cell,
    judge_time,
    last_look,
    slowdown_between_runs,
    slowdown_of,
)
from bench.result import Result, Row
from bench.rounds import Measured
from bench.session import Entrant, Session, Settings, hold_session
from bench.statistics import Ratio, drift, log_ratios
from bench.stopping import FIRST_LOOK, Stop
from bench.timed_parity import ParityJudge
from bench.verdicts import DRIFT, STEAL, THROTTLED
from export.errors import BadInput
from export.progress import Progress, silent

BASE, CONTROL, CANDIDATE = "baseline", "baseline#control", "candidate"


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
    progress: Progress = silent,
) -> Comparison:
    """Measure what both have, each cell in a session of its own: baseline, baseline again, candidate.

    Raises:
        BadInput: the two are not exports of one network, or have nothing in common.
    """
    _require_comparable(base, candidate)
    ours, _ = find_candidates(base, runtimes, precisions, settings.threads)
    theirs, _ = find_candidates(candidate, runtimes, precisions, settings.threads)
    pairs = [(a, b) for a in ours for b in theirs if a.id == b.id and a.runtime not in TORCH_FORMS]
    if not pairs:
        seen = f"{base.path}: {', '.join(base.precisions)}; {candidate.path}: {', '.join(candidate.precisions)}"
        raise BadInput("the two have no precision in common", seen, "export the same precisions")
    cells, complete = [], True
    for index, pair in enumerate(pairs):
        settled = replace(settings, decide=_decide(len(pairs), settings.rule.budget_s, pair[0].device))
        named = f"{pair[0].id} ({index + 1} of {len(pairs)})"
        session = _hold(
            base, candidate, pair, settled, lambda text, share=None, n=named: progress(f"{n}: {text}", share)
        )
        cells.append(_cell_of(pair, session, len(pairs)))
        complete = session.complete
        if not complete:
            break
    return Comparison("paired", judge_all([Judged(c.outcome) for c in cells]), tuple(cells), complete)


def compare_results(base: Result, candidate: Result) -> Comparison:
    """From two stored results: each row's speed-up over its own run's reference.

    Returns:
        Refused, with the differences named, if they were not taken on one machine with the same software.

    Raises:
        BadInput: they are not of one model.
    """
    if base.model != candidate.model:
        raise BadInput("the results are not of one model", f"{base.model}, {candidate.model}", "compare one model")
    differing = differences(base.environment, candidate.environment)
    if base.fingerprint != candidate.fingerprint:
        return Comparison("stored", "REFUSED", (), reasons=tuple(differing) or ("the fingerprints differ",))
    cells = [_stored_cell(row, candidate.row(row.id)) for row in base.rows if not row.is_reference]
    return Comparison("stored", judge_all([Judged(c.outcome) for c in cells]), tuple(cells))


def differences(base: Mapping[str, Any], candidate: Mapping[str, Any]) -> list[str]:
    """In what two environments differ, as far as the fingerprint goes."""
    ours, theirs = identity(base), identity(candidate)
    return [f"{name}: {ours[name]} and {theirs[name]}" for name in ours if ours[name] != theirs[name]]


def _require_comparable(base: ExportFolder, candidate: ExportFolder) -> None:
    ours, theirs = base.manifest.architecture, candidate.manifest.architecture
    if (ours.input_size, ours.joints) != (theirs.input_size, theirs.joints):
        seen = f"input {ours.input_size} with {ours.joints} joints, {theirs.input_size} with {theirs.joints}"
        raise BadInput("the two do not do the same work", seen, "compare exports of one model")


def _hold(
    base: ExportFolder,
    candidate: ExportFolder,
    pair: tuple[Candidate, Candidate],
    settings: Settings,
    progress: Progress,
) -> Session:
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


def _decide(cells: int, budget_s: float, device: str) -> Any:
    """When a cell has been measured enough: at a look that decides it, at the last look, or when the time is up."""
    confidence = confidence_of_a_cell(cells)

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


def _cell_of(pair: tuple[Candidate, Candidate], session: Session, cells: int) -> Cell:
    measured, entries = session.measured, session.entries
    control = measured.ratio(BASE, CONTROL)
    ratio = measured.ratio(BASE, CANDIDATE, confidence_of_a_cell(cells))
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
    )
    judged = judge_cell(seen)
    return Cell(pair[0].id, judged.outcome, judged.reasons, slowdown, allowed, control, measured.rounds)


def _doubts(session: Session, control: Ratio | None) -> list[str]:
    """Why this run decides nothing about time."""
    measured = session.measured
    doubts = [f"{n}: {fault}" for n in (BASE, CONTROL) for fault in session.entries[n].faults]
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


def _stored_cell(base: Row, candidate: Row | None) -> Cell:
    allowed = allowed_slowdown("CPU" if base.facts.get("device", "CPU") == "CPU" else "GPU", None, stored=True)
    if candidate is None:
        return Cell(base.id, "INCONCLUSIVE", ("the candidate's result has no such row",), None, allowed, None, 0)
    doubts = [
        f"{name} is {row.verdict}: {'; '.join(row.reasons)}"
        for name, row in (("the baseline", base), ("the candidate", candidate))
        if row.speed_up is None and not (row is candidate and row.verdict == "invalid")
    ]
    slowdown = None
    if base.speed_up is not None and candidate.speed_up is not None:
        slowdown = slowdown_between_runs(_ratio(base), _ratio(candidate))
    sizes, memories = (base.artifact_bytes, candidate.artifact_bytes), (_peak(base), _peak(candidate))
    seen = CellSeen(
        slowdown,
        allowed,
        faults=tuple(candidate.reasons) if candidate.verdict == "invalid" else (),
        doubts=tuple(doubts),
        sizes=(sizes[0], sizes[1]) if sizes[0] is not None and sizes[1] is not None else None,
        memories_mib=(memories[0], memories[1]) if memories[0] is not None and memories[1] is not None else None,
    )
    judged = judge_cell(seen)
    rounds = candidate.speed_up.rounds if candidate.speed_up else 0
    return Cell(base.id, judged.outcome, judged.reasons, slowdown, allowed, None, rounds)


def _ratio(row: Row) -> Ratio:
    assert row.speed_up is not None
    return Ratio(row.speed_up.median, row.speed_up.low, row.speed_up.high, row.speed_up.rounds)


def _peak(row: Row) -> float | None:
    return row.memory.peak_mib if row.memory else None
