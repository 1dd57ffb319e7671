"""The commands that make what is missing, that make everything again, and that come next."""

import shlex

from bench.report.model_files import ModelFiles
from bench.report.recommend import Choice
from bench.stats.stopping import StopRule
from export.common.interface import precision_of

LONGER = 3
"""So many times the budget is advised where rows could not be ranked: an interval narrows with its root."""


def portable_command(*words: object) -> str:
    """Return a command of this program by its plain name, as pages for every machine show it."""
    return shlex.join(["convnextpose", *map(str, words)])


def export(files: ModelFiles) -> str:
    """Return the command that exports every precision that is there."""
    manifest = files.manifest
    precisions = dict.fromkeys(artifact.precision for artifact in manifest.artifacts if artifact.kind == "onnx")
    checkpoint = ["--checkpoint", manifest.weights.path or "CHECKPOINT"]
    weights = checkpoint if manifest.weights.origin == "checkpoint" else []
    precision = ",".join(precisions) or "fp32"
    return portable_command("export", manifest.model, "--precision", precision, *weights, "--out", files.folder.parent)


def longer_bench(files: ModelFiles) -> str:
    """Return the command that measures a model with more rounds than before."""
    return portable_command(
        "bench", files.folder, "--budget", f"{LONGER * (_budget_s(files) or StopRule().budget_s):g}"
    )


def reproduce(files: ModelFiles) -> tuple[str, ...]:
    """Return the commands that made what is in the folder, with the options that the result tells."""
    steps, result = [export(files)], files.result
    if result is not None:
        options = ["--publish"] if result.mode == "publish" else []
        options += ["--threads", str(result.protocol["threads"]), "--seed", str(result.protocol["seed"])]
        if (budget_s := _budget_s(files)) is not None:
            options += ["--budget", f"{budget_s:g}"]
        options += ["--profile"] * (result.mode != "publish" and any(row.profile for row in result.rows))
        steps.append(portable_command("bench", files.folder, *options))
    return (*steps, portable_command("evaluate", files.folder)) if files.evaluations else tuple(steps)


def next_step(choice: Choice) -> str | None:
    """Return the command that follows from a choice: bundle what may be shipped, otherwise measure what is open."""
    files = choice.measurement.export
    if files is None or choice.measurement.device:
        is_measured = files is not None and choice.measurement.missing is None  # `fleet run` would do nothing
        return None if choice.row is not None or is_measured else choice.measurement.command
    if choice.row is not None:
        return portable_command("bundle", files.folder, "--precision", precision_of(choice.row.precision))
    if files.result is None:
        return portable_command("bench", files.folder)
    if any(row.verdict == "unstable" for row in files.result.rows):
        return longer_bench(files)
    return export(files) if files.evaluations else portable_command("evaluate", files.folder)


def _budget_s(files: ModelFiles) -> float | None:
    stop = files.result.protocol.get("stop", {}) if files.result else {}
    return stop.get("budget_s")
