"""The page of several models that were measured on one machine. Their ms stand beside each other; no model is ranked.

Each model was measured in a run of its own, so that between two models there is no interval; and which one to take is
a matter of the accuracy that is needed, which no latency tells.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import cells
from bench.fleet.record import FLEET
from bench.report.figures.models import models
from bench.report.one_model import notices
from bench.report.recommend import Recommendation, recommended
from bench.report.sections.decision import decision
from bench.report.sections.elsewhere import elsewhere
from bench.report.sections.identity import device_card, environment
from bench.report.sections.untested import gaps
from bench.report.subject import Subject
from bench.report.views import Answer, Cell, Line, Page, Section, Table, Tone, parity_tone
from export.errors import BadInput

Found = tuple[Subject, Recommendation]


def comparison_of(subjects: Sequence[Subject]) -> tuple[Page, list[Found]]:
    """The page, and what to ship of each model.

    Raises:
        BadInput: two were measured on different machines, or with different software.
    """
    require_same_machine(subjects)
    named = _named_apart(subjects)
    found = [(subject, recommended(subject)) for subject in named]
    bench = next((subject.bench for subject in named if subject.bench), None)
    host = bench.environment.get("host", {}) if bench else {}
    sections = [
        _side_by_side(found),
        *(_decision(index, subject, one) for index, (subject, one) in enumerate(found)),
        *elsewhere(named, reports=True),
        _untested(found),
        environment(next((subject for subject in named if subject.bench), named[0])),
        Section("reproduce", "To make it again", commands=_commands(named)),
    ]
    page = Page(
        title=f"{', '.join(subject.model for subject in named)} on {host.get('cpu', 'no machine yet')}",
        subtitle="Several models on one machine, each measured in a run of its own.",
        answers=_answers(found),
        sections=tuple(sections),
        notices=tuple(f"{subject.model}: {said}" for subject in named for said in notices(subject)),
        device=device_card(bench) if bench else (),
    )
    return page, found


def require_same_machine(subjects: Sequence[Subject]) -> None:
    """Milliseconds of two machines say nothing about each other.

    Raises:
        BadInput: machine or software differ; the first difference is named.
    """
    measured = [(subject.folder, subject.bench) for subject in subjects if subject.bench]
    for folder, bench in measured[1:]:
        first, base = measured[0]
        if bench.fingerprint != base.fingerprint:
            differs = "; ".join(_differences(base.identity, bench.identity)) or "their fingerprints"
            do = "measure all of them on one machine with one installation, or make a report of each" + _of_a_run(
                folder
            )
            raise BadInput(f"{first} and {folder} were not measured alike", differs, do)


def _of_a_run(folder: str) -> str:
    """What shows devices side by side, if this is the folder of one device of a fleet's run."""
    run = Path(folder).resolve().parents[1]
    return f"; the run's devices side by side: convnextpose report {run}" if (run / FLEET).is_file() else ""


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in dict.fromkeys([*ours, *theirs]):
        a, b = ours.get(name), theirs.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += _differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}: {json.dumps(a, ensure_ascii=False)}, {json.dumps(b, ensure_ascii=False)}")
    return found


def _named_apart(subjects: Sequence[Subject]) -> list[Subject]:
    """Two exports of one model are called by their folders."""
    from dataclasses import replace

    counts = Counter(subject.model for subject in subjects)
    return [replace(of, model=f"{of.model} ({of.folder})") if counts[of.model] > 1 else of for of in subjects]


def _answers(found: Sequence[Found]) -> tuple[Answer, ...]:
    ship, fast, wrong, sure = [], [], [], []
    for subject, one in found:
        row = one.row
        timing = row.headline if row else None
        ship.append(f"{subject.model}: {row.name if row else 'nothing'}. {one.reason}")
        fast.append(f"{subject.model}: {timing.p50_ms:.2f} ms" if timing else f"{subject.model}: not known")
        drift = row.drift.mean_mm if row and row.drift else None
        error = row.accuracy[0].mpjpe_mm if row and row.accuracy else None
        said = [f"{drift:.2g} mm from its truth"] if drift is not None else []
        said += [f"MPJPE {error:.1f} mm"] if error is not None else ["never evaluated"]
        wrong.append(f"{subject.model}: {', '.join(said)}")
        sure.append(f"{subject.model}: {row.verdict if row else one.reason}")
    tone: Tone = "good" if all(one.row and not one.caveat for _, one in found) else "warn"
    count = sum(len(gaps(subject, one.row)) for subject, one in found)
    return (
        Answer("What do I ship?", "The model whose accuracy you need", tuple(ship), tone),
        Answer("How fast is it?", _range(found), tuple(fast), tone),
        Answer("How wrong is it?", "See each", tuple(wrong), tone),
        Answer(
            "How sure is that?",
            "Of each by itself",
            (*sure, "between models there is no interval: each is a run of its own"),
            tone,
        ),
        Answer("What was not tested?", f"{count} things", ("they are listed below",), "warn" if count else "good"),
    )


def _range(found: Sequence[Found]) -> str:
    known = [one.row.headline.p50_ms for _, one in found if one.row and one.row.headline]
    return f"{min(known):.2f} to {max(known):.2f} ms" if known else "Not known"


def _side_by_side(found: Sequence[Found]) -> Section:
    columns = (
        "model",
        "recommended",
        "p50, ms",
        "speed-up over its reference",
        "verdict",
        "parity",
        "accuracy, mm",
        "file",
        "GMACs",
        "parameters",
    )
    lines = tuple(Line(_model_cells(subject, one), "" if one.row else "greyed") for subject, one in found)
    table = Table("The recommended row of each model.", columns, lines, wide=True)
    figure = models([(subject, one.row) for subject, one in found if one.row])
    lead = "Each model is a run of its own: what differs by a few percent between models is not told apart."
    return Section("decision", "Model by model", (lead,), tables=(table,), figures=(figure,) if figure else ())


def _model_cells(subject: Subject, one: Recommendation) -> tuple[Cell, ...]:
    row, none = one.row, Cell(cells.NOTHING, tone="dim")
    size = (Cell(f"{subject.macs / 1e9:.3f}"), Cell(f"{subject.parameters:,}"))
    if row is None or row.headline is None:
        return (Cell(subject.model), Cell("nothing", one.reason, "bad"), *[none] * 6, *size)
    timing, up, of = row.headline, row.speed_up, row.accuracy[0] if row.accuracy else None
    return (
        Cell(subject.model, f"weights: {subject.weights}"),
        Cell(row.name),
        Cell(
            f"{timing.p50_ms:.2f}",
            f"{timing.low_ms:.2f} to {timing.high_ms:.2f}; {timing.samples} calls at {timing.boundary}",
        ),
        Cell(f"{up.median:.2f}", f"[{up.low:.2f}, {up.high:.2f}]") if up else none,
        Cell(row.verdict, tone="good" if row.verdict == "stable" else "warn"),
        Cell(row.drift.status, f"mean {cells.millimetres(row.drift.mean_mm)} mm", parity_tone(row.drift.status))
        if row.drift and row.drift.mean_mm is not None
        else none,
        Cell(f"{of.mpjpe_mm:.1f}", f"MPJPE, {of.dataset}")
        if of and of.mpjpe_mm is not None
        else Cell("n/a", "not evaluated", "dim"),
        Cell(cells.megabytes(row.file_bytes), row.file or "") if row.file_bytes else none,
        *size,
    )


def _decision(index: int, subject: Subject, one: Recommendation) -> Section:
    from dataclasses import replace

    return replace(decision(subject, one), id=f"model-{index}", title=f"{subject.model}: decision table")


def _untested(found: Sequence[Found]) -> Section:
    lines = tuple(
        Line((Cell(subject.model), Cell(of.what), Cell(of.reason), Cell(of.command or cells.NOTHING)))
        for subject, one in found
        for of in gaps(subject, one.row)
    )
    table = Table("Nothing of this is counted as passed.", ("model", "what", "why", "what does it"), lines)
    return Section("untested", "What was not tested, and why", tables=(table,))


def _commands(subjects: Sequence[Subject]) -> tuple[str, ...]:
    import shlex

    from bench.report.commands import reproduce

    each = [command for subject in subjects for command in reproduce(subject)[:-1]]
    folders = [str(Path(subject.folder)) for subject in subjects]
    return (*each, shlex.join(["convnextpose", "report", *folders]))
