"""What the command line may say about a checkpoint: ``--set`` and ``--strict``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.common.errors import BadInput, CheckFailed
from export.common.interface import PRECISIONS
from export.common.records import read_json
from export.engine.plan import EnginePlan
from export.model.architecture import HEAD_LAYERS

SETTABLE = {"joints": (1, 4096), "depth_dim": (1, 4096), "upsamplings": (0, HEAD_LAYERS), "input_size": (64, 1024)}
"""Field → smallest and largest value, for what weights cannot tell, or tell only as a product."""

READ_FROM_WEIGHTS = ("backbone", "depths", "dims", "head_channels", "head_kernels")


def parse_overrides(settings: Sequence[str]) -> dict[str, int]:
    """``["upsamplings=2"]`` → ``{"upsamplings": 2}``.

    Raises:
        BadInput: not ``field=number``, an unknown field, or one that only weights decide.
    """
    overrides: dict[str, int] = {}
    for setting in settings:
        field, _, text = (part.strip() for part in setting.partition("="))
        if field in READ_FROM_WEIGHTS:
            raise BadInput(f"--set {field} is refused", setting, "weights show this field, and what they show is used")
        if field not in SETTABLE:
            raise BadInput("--set does not know this field", setting, f"give one of {', '.join(SETTABLE)}")
        low, high = SETTABLE[field]
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise BadInput(f"--set {field} needs a whole number", setting, f"from {low} to {high}")
        if overrides.setdefault(field, int(text)) != int(text):
            raise BadInput(f"--set {field} is given twice", setting, "give one value")
    return overrides


def parse_numbers(option: str, form: str, text: str) -> tuple[float, ...]:
    """``("--bbox", "X,Y,W,H", "10,20,300,400")`` → ``(10.0, 20.0, 300.0, 400.0)``.

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


def parse_plan(plan: EnginePlan, batches: str, targets: str | None, workspace_mib: int) -> EnginePlan:
    """``plan`` with what stands in ``("1,1,8", "8.6,8.9", 1024)``.

    Raises:
        BadInput: not three numbers, or nothing that a builder could honour.
    """
    sizes = [part.strip() for part in batches.split(",")]
    if len(sizes) != 3 or not all(size.isascii() and size.isdigit() and len(size) < 6 for size in sizes):
        raise BadInput("--batches needs three whole numbers", batches, "give MIN,OPT,MAX such as 1,1,8")
    low, best, high = map(int, sizes)
    named = tuple(part.strip() for part in targets.split(",")) if targets is not None else None
    plan = replace(plan, targets=named, workspace_bytes=workspace_mib << 20)
    return replace(plan, batch_min=low, batch_opt=best, batch_max=high)


def require_agreement(model: str, verdict: Mapping[str, Any]) -> None:
    """What ``--strict`` asks for, of a verdict as plain data.

    Raises:
        CheckFailed: a field that is used differs from the declared one.
    """
    wrong = [row for row in verdict["verdict"] if not row["agrees"]]
    if wrong:
        raise CheckFailed(
            f"the checkpoint is not the declared {model}",
            "; ".join(f"{row['field']}: declared {_show(row['declared'])}, used {_show(row['used'])}" for row in wrong),
            f"leave out --strict to use the weights as they are; nearest: {name_nearest(verdict['nearest_models'])}",
        )


def require_images_agree(seen: Mapping[str, Any] | None) -> None:
    """What ``--strict`` asks for, of images: that they do not decide for another count. They may leave it open.

    Raises:
        CheckFailed: they decide for another count than the one that is used.
    """
    if seen is not None and seen["agrees"] is False:
        raise CheckFailed(
            f"the images contradict upsamplings={seen['used']}",
            f"they say upsamplings={seen['decided']}: {seen['reason']}",
            f"pass --set upsamplings={seen['decided']}",
        )


def name_nearest(nearest: Sequence[Mapping[str, Any]]) -> str:
    """The nearest declared models in a phrase."""
    return ", ".join(
        f"{near['model']} (" + (f"differs in {', '.join(near['differs_in'])})" if near["differs_in"] else "identical)")
        for near in nearest
    )


def _show(value: Any) -> str:
    return str(list(value)) if isinstance(value, (list, tuple)) else str(value)


def parse_plans(paths: Sequence[Path]) -> dict[str, Path]:
    """Return precision plans by the precision that each is for.

    Raises:
        BadInput: a file that is no plan, or two for one precision.
    """
    found: dict[str, Path] = {}
    for path in paths:
        do = "give a plan/<precision>.json of an earlier export"
        read = read_json(path, "precision plan", do)
        precision = read.get("precision") if isinstance(read, dict) else None
        if precision not in PRECISIONS[1:]:
            raise BadInput(f"{path} is no precision plan", f"precision: {precision}", do)
        if precision in found:
            raise BadInput(f"two plans for {precision}", f"{found[precision]}, {path}", "give one")
        found[precision] = path
    return found
