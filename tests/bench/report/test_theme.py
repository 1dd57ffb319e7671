"""The colours: enough contrast on paper and in the dark, and told apart by those who see fewer of them."""

import itertools

import numpy as np
import pytest

from bench.report import theme
from bench.sessions.exported import RUNTIMES
from export.common.interface import PRECISIONS

MACHADO = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Machado, Oliveira and Fernandes 2009, severity 1: on linear RGB."""

ON_A_CPU = ("pytorch", "pytorch-channels-last", "pytorch-compile", "onnxruntime", "openvino")
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    x, y, z = np.cbrt(np.clip(XYZ @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089], 1e-6, None))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    """WCAG 2.2."""
    low, high = sorted(float(XYZ[1] @ linear(of)) + 0.05 for of in (one, other))
    return high / low


def test_every_runtime_and_precision_has_its_colour_and_its_mark() -> None:
    assert set(RUNTIMES) <= set(theme.RUNTIME_COLOURS)
    assert set(PRECISIONS) == set(theme.MARKS)
    assert len(set(theme.MARKS.values())) == len(theme.MARKS)


@pytest.mark.parametrize("runtime", theme.RUNTIME_COLOURS)
def test_marks_stand_out_on_paper_and_in_the_dark(runtime: str) -> None:
    light, dark = theme.RUNTIME_COLOURS[runtime]
    assert contrast(light, theme.PAPER) >= 3
    assert contrast(dark, theme.DARK[theme.PAPER]) >= 3


@pytest.mark.parametrize("words", [theme.INK, theme.QUIET, theme.CHOSEN])
def test_words_stand_out_more(words: str) -> None:
    assert contrast(words, theme.PAPER) >= 4.5
    assert contrast(theme.DARK[words], theme.DARK[theme.PAPER]) >= 4.5


@pytest.mark.parametrize("seen_by", MACHADO)
@pytest.mark.parametrize("side", [0, 1])
def test_runtimes_are_told_apart_by_the_colour_blind(seen_by: str, side: int) -> None:
    """Distances in CIE Lab: on one CPU at least 14; of all others, which are hardly ever on one page, at least 9."""
    seen = {
        name: lab(np.array(MACHADO[seen_by]) @ linear(colours[side])) for name, colours in theme.RUNTIME_COLOURS.items()
    }
    for one, other in itertools.combinations(seen, 2):
        needed = 14 if {one, other} <= set(ON_A_CPU) else 9
        assert np.linalg.norm(seen[one] - seen[other]) >= needed, (one, other)
