"""The quality of a row, and its reasons."""

import math

import pytest

from bench.stats.quality import Evidence, assess, same_as_reference
from bench.stats.statistics import Ratio

QUIET = Ratio(1.0, 0.998, 1.002, 30)


def ratio(half_width: float, median: float = 2.0) -> Ratio:
    return Ratio(median, median * math.exp(-half_width), median * math.exp(half_width), 30)


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        ({}, "stable", "within"),
        ({"ratio": ratio(0.02)}, "noisy", "±2.00 %"),
        ({"spread": 0.06}, "noisy", "spread"),
        ({"power_capped": 0.2}, "noisy", "power"),
        ({"control": Ratio(1.006, 1.004, 1.008, 30)}, "noisy", "differ"),
        ({"control": Ratio(1.04, 1.03, 1.05, 30)}, "noisy", "differences below 10 % are not shown"),
        ({"control": Ratio(1.06, 1.051, 1.07, 30)}, "unstable", "two instances"),
        ({"control": Ratio(0.94, 0.93, 0.949, 30)}, "unstable", "two instances"),
        ({"control": Ratio(math.nan, math.nan, math.nan, 30)}, "unstable", "two instances"),
        ({"control": Ratio(1.0, 0.985, 1.015, 30)}, "noisy", "two instances of the reference is known to ±1.50 %"),
        ({"control": Ratio(1.0, 0.96, 1.04, 30)}, "unstable", "two instances of the reference is known to"),
        ({"control_faults": ("killed",)}, "unstable", "second instance, killed"),
        ({"reference_faults": ("warming up did not end",)}, "unstable", "the reference, warming up"),
        ({"control_shift": 0.06}, "unstable", "against each other"),
        ({"control_shift": math.nan}, "unstable", "against each other"),
        ({"ratio": ratio(0.031)}, "unstable", "±3.10 %"),
        ({"ratio": ratio(math.nan)}, "unstable", "only"),
        ({"ratio": None}, "unstable", "too few rounds"),
        ({"shift": 0.06}, "unstable", "shifted"),
        ({"steal": 0.02}, "unstable", "stolen"),
        ({"throttled": 0.11}, "unstable", "throttled"),
        ({"steady": False}, "unstable", "warming up"),
        ({"faults": ("parity failed",), "steady": False}, "invalid", "parity failed"),
    ],
)
def test_quality_and_its_reasons(changes: dict[str, object], name: str, reason: str) -> None:
    evidence = Evidence(**{"ratio": ratio(0.005), "control": QUIET, **changes})  # type: ignore[arg-type]
    quality = assess(evidence)
    assert quality.name == name
    assert reason.replace(" %", "%") in " ".join(quality.reasons)
    assert quality.timing == (name != "invalid")
    assert quality.speed_up == (name in ("stable", "noisy"))


def test_small_differences_are_called_the_same() -> None:
    control = ratio(0.01, 1.0)
    assert same_as_reference(ratio(0.005, 1.015), control)
    assert not same_as_reference(ratio(0.005, 1.025), control)
