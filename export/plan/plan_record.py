"""What a precision plan says, read from its JSON; without torch, so that a run that is up to date stays fast."""

from collections.abc import Mapping
from typing import Any

from export.common.errors import CheckFailed

TOO_MANY = ": too many"
"""End of a search line that tells what a better grade would take."""


def plan_summary(plan: Mapping[str, Any]) -> str:
    """Return one line about a plan as JSON: how many convolutions are in which precision."""
    convs = plan["convs"]
    own = plan["precision"]
    counts = {kind: sum(conv["precision"] == kind for conv in convs) for kind in ("int8", "fp16", "bf16", "fp32")}
    if own == "int8":
        macs = sum(conv["macs"] for conv in convs)
        share = sum(conv["macs"] for conv in convs if conv["precision"] == "int8") / macs
        return f"INT8: {counts['int8']} of {len(convs)} convolutions, {share:.0%} of the multiplies; the rest in FP16"
    kept = f"{counts['fp32']} of {len(convs)}" if counts["fp32"] else f"none of {len(convs)}"
    return f"{own.upper()}, {kept} convolutions in FP32"


def require_left(plan: Mapping[str, Any]) -> None:
    """Check that a plan leaves something in the precision that was asked for.

    Raises:
        CheckFailed: no convolution is in it.
    """
    own = plan["precision"]
    if not any(conv["precision"] == own for conv in plan["convs"]):
        found = plan["search"][-1]
        lower = {"int8": "fp16", "bf16": "fp32", "fp16": "fp32"}[own]
        do = f"ask for {lower}; or calibrate with crops of what the network was trained on (--calibration)"
        raise CheckFailed(f"no convolution can be {own} within the error budget", found, do)
