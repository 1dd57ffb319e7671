"""One visual language for all charts: colour is the runtime, the mark is the precision, and the order is the same.

A specification has the light colours. The page's style sheet replaces each by its dark one where the reader's system is
dark, in the static picture and in the interactive one alike. Colours are after Okabe and Ito (2008) and Tol (2021); a
test simulates colour blindness and measures contrast.
"""

from export.common.interface import PRECISIONS

PAPER, INK, QUIET, GRID, BAND = "#ffffff", "#1b1f24", "#57606a", "#dde1e6", "#c9d1d9"
CHOSEN = "#1a7f37"

RUNTIME_COLOURS = {
    "pytorch": ("#6e7781", "#8b949e"),
    "pytorch-channels-last": ("#5e4b00", "#8f7a2e"),
    "pytorch-compile": ("#7a1a66", "#f4a8dc"),
    "pytorch-cuda": ("#24292f", "#f0f6fc"),
    "pytorch-cuda-graph": ("#8518f2", "#a542a5"),
    "onnxruntime": ("#0072b2", "#4fb3f0"),
    "openvino": ("#d55e00", "#ff9b54"),
    "onnxruntime-cuda": ("#4f35b5", "#7f76f0"),
    "onnxruntime-tensorrt": ("#9c0f3c", "#e0446e"),
    "tensorrt": ("#00795b", "#2fd3a5"),
    "tensorrt-rtx": ("#5f8f00", "#d7f06a"),
}
"""Runtime → (on paper, in the dark), in the order of all tables and charts."""

OTHER_RUNTIME = ("#4d4d4d", "#c0c0c0")

DARK = {
    PAPER: "#14181d",
    INK: "#e9edf1",
    QUIET: "#a3adb8",
    GRID: "#323a43",
    BAND: "#4a545f",
    CHOSEN: "#56d364",
    **dict(RUNTIME_COLOURS.values()),
    **dict([OTHER_RUNTIME]),
}
"""Each colour of a specification → the one in its place in the dark."""

MARKS = {"fp32": "circle", "fp16": "square", "bf16": "triangle-up", "int8": "diamond"}
OTHER_MARK = "cross"

WIDTH = 720
FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
"""Fonts of pictures: three names for one set of widths, so that a layout fits on every machine."""


def order_key(runtime: str, precision: str) -> tuple[int, str, int, str]:
    """Return a sort key: by runtime, then by precision; the unknown comes last, by name."""
    runtimes, precisions = list(RUNTIME_COLOURS), list(PRECISIONS)
    return (
        runtimes.index(runtime) if runtime in runtimes else len(runtimes),
        runtime,
        precisions.index(precision) if precision in precisions else len(precisions),
        precision,
    )


def colour(runtime: str) -> str:
    """Return the colour on paper."""
    return RUNTIME_COLOURS.get(runtime, OTHER_RUNTIME)[0]
