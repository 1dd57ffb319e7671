"""Export error of each joint, drawn on a person who stands: the larger a dot, the larger the error."""

import math
from collections.abc import Sequence

import altair as alt

from bench.report import theme
from bench.report.charts import base
from bench.report.views import Chart
from export.pipeline.reports import ParityReport

PLACES = {
    "Pelvis": (0, 96),
    "Torso": (0, 120),
    "Neck": (0, 146),
    "Thorax": (0, 140),
    "Spine": (0, 120),
    "Nose": (0, 158),
    "Head": (0, 170),
    "Head_top": (0, 178),
    "Hip": (12, 94),
    "Knee": (14, 50),
    "Ankle": (15, 8),
    "Toe": (21, 0),
    "Shoulder": (19, 142),
    "Elbow": (30, 116),
    "Wrist": (37, 90),
    "Hand": (40, 80),
}
"""(x, y) of a person of 178 cm; x of a limb is that of the left one, which is on the right of the picture."""

MUCO_PLACES = {"Head": (0, 162)}
"""In that set the head is the middle of it, and its top a joint of its own."""

SMALLEST_MM, LARGEST_MM = 0.001, 100.0
"""Ends of the scale of sizes, the same in all such charts."""

WIDTH, HEIGHT = 250, 360


def skeleton(index: int, parity: ParityReport, joints: Sequence[str], bones: Sequence[tuple[int, int]]) -> Chart | None:
    """Return the joints of one exported file; None for a joint set without a drawing.

    Args:
        index: the number of the file, which names the chart.
        parity: the file's entry in the manifest.
        joints: the names of the joints.
        bones: pairs of joints.
    """
    places, errors = [_place(name, joints) for name in joints], parity.per_joint_max_mm
    if not all(places) or len(errors) != len(joints):
        return None
    known = [(name, place, mm) for name, place, mm in zip(joints, places, errors, strict=True) if place]
    values = [
        {
            "joint": name.replace("_", " "),
            "x": x,
            "y": y,
            "mm": None if mm is None else base.short(mm),
            "size": _size(mm),
            "label": "" if name != parity.worst_joint_name else _label(name, mm),
        }
        for name, (x, y), mm in known
    ]
    lines = [{"x": known[a][1][0], "y": known[a][1][1], "x2": known[b][1][0], "y2": known[b][1][1]} for a, b in bones]
    alt_text = _words(parity.variant, [(name, mm) for name, _, mm in known])
    title = f"{parity.variant}: {parity.status}"
    return Chart(f"joints-{index}", title, alt_text, _spec(values, lines, alt_text))


def _label(name: str, mm: float | None) -> str:
    return f"{name.replace('_', ' ')} {'not finite' if mm is None else f'{mm:.2g} mm'}"


def _spec(values: base.Values, lines: base.Values, alt_text: str) -> dict[str, object]:
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[-62, 62], nice=False))
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[-8, 190], nice=False))
    bones = alt.Chart(base.data(lines)).mark_rule(color=theme.BAND, strokeWidth=4, strokeCap="round")
    dots = alt.Chart(base.data(values)).encode(x=x, y=y)
    tips = base.tooltip(joint="joint:N", largest_error_mm="mm:Q")
    layers = alt.layer(
        bones.encode(x=x, y=y, x2="x2:Q", y2="y2:Q"),
        dots.mark_circle(color=theme.ERROR, opacity=0.85).encode(
            size=alt.Size("size:Q", scale=None, legend=None), tooltip=tips
        ),
        dots.mark_text(color=theme.INK, dy=-18, fontWeight="bold").encode(text="label:N"),
    )
    spec = base.finish(layers, HEIGHT, alt_text)
    return spec | {"width": WIDTH}


def _place(name: str, joints: Sequence[str]) -> tuple[float, float] | None:
    if "Head_top" in joints and name in MUCO_PLACES:
        return MUCO_PLACES[name]
    side, _, limb = name.rpartition("_") if name[:2] in ("L_", "R_") else ("", "", name)
    if limb not in PLACES:
        return None
    x, y = PLACES[limb]
    return (-x if side == "R" else x), y


def _size(mm: float | None) -> float:
    """Return the area in square pixels, by the logarithm; the largest for an error that is not finite."""
    if mm is None:
        return 700.0
    share = math.log10(max(SMALLEST_MM, mm) / SMALLEST_MM) / math.log10(LARGEST_MM / SMALLEST_MM)
    return base.short(20 + 680 * min(1.0, share) ** 2)


def _words(variant: str, joints: Sequence[tuple[str, float | None]]) -> str:
    finite = sorted(((mm, name) for name, mm in joints if mm is not None), reverse=True)
    lost = [name for name, mm in joints if mm is None]
    text = f"{variant}: largest errors {', '.join(f'{name} {mm:.2g} mm' for mm, name in finite[:3])}"
    return text + (f"; not finite: {', '.join(lost)}" if lost else "") + "."
