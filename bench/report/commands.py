"""The commands that make what is missing, that make everything again, and that come next."""

import shlex
from pathlib import Path

from bench.report.model_files import ModelFiles
from bench.report.recommend import Choice
from bench.stats.stopping import StopRule
from export.common.interface import precision_of

LONGER = 3
"""So many times the budget is advised where rows could not be ranked: an interval narrows with its root."""


def export(files: ModelFiles) -> str:
    """Return the command that exports every precision that is there."""
    manifest = files.manifest
    precisions = dict.fromkeys(artifact.precision for artifact in manifest.artifacts if artifact.kind == "onnx")
    words = ["convnextpose", "export", manifest.model, "--precision", ",".join(precisions) or "fp32"]
    if manifest.weights.origin == "checkpoint":
        words += ["--checkpoint", manifest.weights.path or "CHECKPOINT"]
    return shlex.join([*words, "--out", str(files.folder.parent)])


def bench(folder: Path | str, *options: str) -> str:
    """Return the command that measures a model."""
    return shlex.join(["convnextpose", "bench", str(folder), *options])


def longer_bench(files: ModelFiles) -> str:
    """Return the command that measures a model with more rounds than before."""
    return bench(files.folder, "--budget", f"{LONGER * (_budget_s(files) or StopRule().budget_s):g}")


def evaluate(folder: Path | str) -> str:
    """Return the command that measures the accuracy of a model."""
    return shlex.join(["convnextpose", "evaluate", str(folder)])


def report(*folders: Path | str) -> str:
    """Return the command that makes the page."""
    return shlex.join(["convnextpose", "report", *map(str, folders)])


def reproduce(files: ModelFiles) -> tuple[str, ...]:
    """Return the commands that made what is in the folder, with the options that the result tells."""
    steps, result = [export(files)], files.result
    if result is not None:
        options = ["--publish"] if result.mode == "publish" else []
        options += ["--threads", str(result.protocol["threads"]), "--seed", str(result.protocol["seed"])]
        if (budget_s := _budget_s(files)) is not None:
            options += ["--budget", f"{budget_s:g}"]
        options += ["--profile"] * (result.mode != "publish" and any(row.profile for row in result.rows))
        steps.append(bench(files.folder, *options))
    return (*steps, evaluate(files.folder)) if files.evaluations else tuple(steps)


def next_step(choice: Choice) -> str | None:
    """Return the command that follows from a choice: bundle what may be shipped, otherwise measure what is open."""
    files = choice.measurement.export
    if files is None or choice.measurement.device:
        is_measured = files is not None and choice.measurement.missing is None  # `fleet run` would do nothing
        return None if choice.row is not None or is_measured else choice.measurement.command
    if choice.row is not None:
        precision = precision_of(choice.row.precision)
        return shlex.join(["convnextpose", "bundle", str(files.folder), "--precision", precision])
    if files.result is None:
        return bench(files.folder)
    if any(row.verdict == "unstable" for row in files.result.rows):
        return longer_bench(files)
    return export(files) if files.evaluations else evaluate(files.folder)


def _budget_s(files: ModelFiles) -> float | None:
    stop = files.result.protocol.get("stop", {}) if files.result else {}
    return stop.get("budget_s")
