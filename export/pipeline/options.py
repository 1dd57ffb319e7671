"""Parsing of command line options, and the checks of ``--strict``."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from export.checkpoint.records import BY_RULE, NearestModel, VerdictRow
from export.common.errors import BadInput, CheckFailed
from export.common.interface import PRECISIONS
from export.common.records import read_json
from export.engine.plan import EnginePlan
from export.model.architecture import HEAD_LAYERS

if TYPE_CHECKING:
    from export.checkpoint.inspection import ImageInspection, Inspection

SETTABLE = {"joints": (1, 4096), "depth_dim": (1, 4096), "upsamplings": (0, HEAD_LAYERS), "input_size": (64, 1024)}
"""Field → smallest and largest value, for fields that weights do not show, or show only as a product."""

READ_FROM_WEIGHTS = ("backbone", "depths", "dims", "head_channels", "head_kernels")


def parse_overrides(settings: Sequence[str]) -> dict[str, int]:
    """Parse ``["upsamplings=2"]`` to ``{"upsamplings": 2}``.

    Raises:
        BadInput: not ``field=number``, an unknown field, or one that weights show.
    """
    overrides: dict[str, int] = {}
    for setting in settings:
        field, _, text = (part.strip() for part in setting.partition("="))
        if field in READ_FROM_WEIGHTS:
            raise BadInput(f"--set {field} is refused", setting, "leave it out: weights show this field")
        if field not in SETTABLE:
            raise BadInput("--set does not know this field", setting, f"give one of {', '.join(SETTABLE)}")
        low, high = SETTABLE[field]
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise BadInput(f"--set {field} needs a whole number", setting, f"from {low} to {high}")
        if overrides.setdefault(field, int(text)) != int(text):
            raise BadInput(f"--set {field} is given twice", setting, "give one value")
    return overrides


def parse_numbers(option: str, form: str, text: str) -> tuple[float, ...]:
    """Parse ``("--bbox", "X,Y,W,H", "10,20,300,400")`` to ``(10.0, 20.0, 300.0, 400.0)``.

    Raises:
        BadInput: not as many finite numbers as ``form`` names.
    """
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != len(form.split(",")) or not all(map(math.isfinite, numbers)):
        raise BadInput(f"{option} needs {len(form.split(','))} numbers", text or "nothing", f"give {form}")
    return numbers


def require_range(option: str, value: float, low: float, high: float | None = None) -> None:
    """Check the number of an option.

    Raises:
        BadInput: it is below ``low``, above ``high``, or not finite.
    """
    if not (math.isfinite(value) and low <= value and (high is None or value <= high)):
        allowed = f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"
        raise BadInput(f"{option} is not possible", f"{value:g}", f"give a number {allowed}")


def parse_plan(plan: EnginePlan, batches: str, targets: str | None, workspace_mib: int) -> EnginePlan:
    """Return ``plan`` with batches, targets and workspace, such as ``("1,1,8", "8.6,8.9", 1024)``.

    Raises:
        BadInput: not three numbers, or a plan that no builder can honour.
    """
    sizes = [part.strip() for part in batches.split(",")]
    if len(sizes) != 3 or not all(size.isascii() and size.isdigit() and len(size) < 6 for size in sizes):
        raise BadInput("--batches needs three whole numbers", batches, "give MIN,OPT,MAX such as 1,1,8")
    low, best, high = map(int, sizes)
    capabilities = tuple(part.strip() for part in targets.split(",")) if targets is not None else None
    plan = replace(plan, targets=capabilities, workspace_bytes=workspace_mib << 20)
    return replace(plan, batch_min=low, batch_opt=best, batch_max=high)


def require_agreement(model: str, verdict: Sequence[VerdictRow], nearest: Sequence[NearestModel]) -> None:
    """Check a verdict for ``--strict``.

    Raises:
        CheckFailed: a used value differs from the declared one.
    """
    wrong = [row for row in verdict if not row.agrees]
    if wrong:
        raise CheckFailed(
            f"the checkpoint is not the declared {model}",
            "; ".join(map(_difference, wrong)),
            f"leave out --strict to use the weights as they are; nearest: {describe_nearest(nearest)}",
        )


def require_declared_count(inspection: "Inspection") -> None:
    """Check that something declares the upsampling count of a checkpoint that may be of several models.

    Raises:
        CheckFailed: no model is declared, and those of the checkpoint's shape have different counts.
    """
    if counts := inspection.other_counts:
        used = inspection.record.architecture.upsamplings
        alternatives = "; ".join(f"{' and '.join(models)} would have {count}" for count, models in counts.items())
        raise CheckFailed(
            "nothing declares the upsampling count of this checkpoint",
            f"by the rule it is {used}, as {inspection.model} has; {alternatives}",
            f"declare the model (--model {inspection.model}), or check the count with --images DIR",
        )


def require_images_agree(images: "ImageInspection | None") -> None:
    """Check the upsampling count for ``--strict``; images may leave it open.

    Raises:
        CheckFailed: the images show another count than the used one.
    """
    if images is not None and images.agrees is False:
        evidence = images.upsamplings
        raise CheckFailed(
            f"the images contradict upsamplings={images.used}",
            f"they show upsamplings={evidence.decided}: {evidence.reason}",
            f"pass --set upsamplings={evidence.decided}",
        )


def describe_nearest(models: Sequence[NearestModel]) -> str:
    """Return the nearest declared models in a phrase."""
    return ", ".join(
        f"{near.model} (" + (f"differs in {', '.join(near.differs_in)})" if near.differs_in else "identical)")
        for near in models
    )


def _difference(row: VerdictRow) -> str:
    if row.declared == BY_RULE:
        return f"{row.field}: used {_text(row.used)} ({row.reason})"
    return f"{row.field}: declared {_text(row.declared)}, used {_text(row.used)}"


def _text(value: object) -> str:
    return str(list(value)) if isinstance(value, list | tuple) else str(value)


def parse_plans(paths: Sequence[Path]) -> dict[str, Path]:
    """Return precision plans by their precision.

    Raises:
        BadInput: a file that is no plan, or two for one precision.
    """
    plans: dict[str, Path] = {}
    for path in paths:
        advice = "give a plan/<precision>.json of an earlier export"
        content = read_json(path, "precision plan", advice)
        precision = content.get("precision") if isinstance(content, dict) else None
        if precision not in PRECISIONS[1:]:
            raise BadInput(f"{path} is no precision plan", f"precision: {precision}", advice)
        if precision in plans:
            raise BadInput(f"two plans for {precision}", f"{plans[precision]}, {path}", "give one")
        plans[precision] = path
    return plans
