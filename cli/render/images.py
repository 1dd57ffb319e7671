"""Table of the comparison of images with BatchNorm statistics."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from cli.console import out, table
from export.common.plain import printable

VERDICT_STYLE = {"known": "green", "unknown": "red", "not available": "yellow"}


def image_statistics(result: Mapping[str, Any]) -> None:
    """Print whether the network knows the images, with the mismatch of all norms."""
    shown = table("BatchNorm statistics", "images", "mean shift", "allowed", "log variance ratio", "allowed")
    cells = [str(result["images"])]
    for name in ("mean_shift", "log_variance_ratio"):
        cells += [_number(result[name]), _number(result["limits"][name])]
    style = VERDICT_STYLE[result["verdict"]]
    shown.add_row(f"[{style}]{result['verdict']}[/]", *cells)
    out.print("[bold]Images that the network knows[/]")
    out.print(shown)
    if result["verdict"] != "known":
        out.print(escape(printable(result["reason"])), soft_wrap=True)


def known_images(summary: Mapping[str, Any]) -> None:
    """Print why the parity images are not known to the network, or that it cannot be checked."""
    if summary["verdict"] != "known":
        style = VERDICT_STYLE[summary["verdict"]]
        about = f"BatchNorm statistics: {summary['reason']}"
        out.print(f"[{style}]images {summary['verdict']}[/]: {escape(printable(about))}", soft_wrap=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
