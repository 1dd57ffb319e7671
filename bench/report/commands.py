"""The commands that make what is missing, and those that make the whole again."""

import shlex
from pathlib import Path

from bench.report.subject import Subject
from export.plain import printable


def export(subject: Subject) -> str:
    """Every precision that is there."""
    precisions = dict.fromkeys(of.precision for of in subject.files if of.kind == "onnx")
    words = ["convnextpose", "export", subject.model, "--precision", ",".join(precisions) or "fp32"]
    if subject.weights == "checkpoint":
        words += ["--checkpoint", subject.weights_path or "CHECKPOINT"]
    return shlex.join([*words, "--out", str(Path(subject.folder).parent)])


def bench(subject: Subject, *options: str) -> str:
    """Measure it."""
    return shlex.join(["convnextpose", "bench", subject.folder, *options])


def evaluate(subject: Subject) -> str:
    """Say how far off its poses are."""
    return shlex.join(["convnextpose", "evaluate", subject.folder])


def report(folder: str | Path) -> str:
    """Make the page of one folder."""
    return printable(shlex.join(["convnextpose", "report", str(folder)]))


def reproduce(subject: Subject) -> tuple[str, ...]:
    """What was run, in order, with the options that a result tells."""
    found = [export(subject)]
    if (of := subject.bench) is not None:
        options = ["--publish"] if of.mode == "publish" else []
        options += ["--threads", str(of.threads), "--seed", str(of.seed)]
        if of.budget_s is not None:
            options += ["--budget", f"{of.budget_s:g}"]
        options += ["--profile"] * (of.mode != "publish" and any(row.profile for row in of.rows))
        found.append(bench(subject, *options))
    if subject.evaluations:
        found.append(evaluate(subject))
    return (*found, report(subject.folder))
