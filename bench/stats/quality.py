"""The quality of a measurement: stable, noisy, unstable or invalid, with every reason in words.

All thresholds are here. They are those of the protocol in docs/measuring.md, which reports what was measured with them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bench.stats.statistics import Ratio

Name = Literal["stable", "noisy", "unstable", "invalid"]

PRECISE = 0.01
"""Largest half-width of a ratio's interval for stable figures."""
USABLE = 0.03
"""Largest half-width for a speed-up to be printed."""
LUCK = 0.05
"""Largest distance of the control's interval from 1. Processes of one network differ for as long as they live: four of
PyTorch by up to 6 % (docs/measuring.md). Up to here the difference is named, and hides what is not twice as large."""
SPREAD = 0.05
"""Largest interquartile range of round medians over their median."""
SHIFT = 0.05
"""Largest shift of the ratio between the first and the last third of the rounds."""
STEAL = 0.01
"""Largest share of processor time that the hypervisor gave to others."""
THROTTLED = POWER_CAPPED = 0.1
"""Largest share of rounds."""
OVERHEAD_NS, OVERHEAD_SHARE = 1000.0, 0.005
"""Largest overhead of the timing loop per iteration; the share is that of the fastest measured median."""


@dataclass(frozen=True)
class Evidence:
    """Everything that the quality of a row depends on."""

    faults: tuple[str, ...] = ()
    """Reasons that make timing meaningless: parity, NaN, wrong device or precision, a crash."""
    ratio: Ratio | None = None
    """Ratio to the reference; the control's for the reference itself."""
    control: Ratio | None = None
    """Ratio of A′ to A: two instances of the reference, which must not differ."""
    control_faults: tuple[str, ...] = ()
    """Reasons why A′ is missing or not usable."""
    reference_faults: tuple[str, ...] = ()
    """The same of A; none for the row of A itself."""
    control_shift: float = 0.0
    """Drift of A′ to A."""
    spread: float = 0.0
    shift: float = 0.0
    steal: float | None = None
    """None: cannot be read on this machine."""
    throttled: float = 0.0
    power_capped: float = 0.0
    steady: bool = True


@dataclass(frozen=True)
class Quality:
    """The quality of a row, and its reasons."""

    name: Name
    reasons: tuple[str, ...]

    @property
    def timing(self) -> bool:
        """True if timing may be shown."""
        return self.name != "invalid"

    @property
    def speed_up(self) -> bool:
        """True if a speed-up, a rank or a tail may be shown."""
        return self.name in ("stable", "noisy")


def assess(evidence: Evidence) -> Quality:
    """Return the quality of one row. Comparisons are written so that NaN is unstable."""
    if evidence.faults:
        return Quality("invalid", evidence.faults)
    if evidence.reference_faults or evidence.control_faults:
        reasons = [f"the reference, {fault}" for fault in evidence.reference_faults]
        reasons += [f"the reference's second instance, {fault}" for fault in evidence.control_faults]
        return Quality("unstable", tuple(reasons))
    if evidence.ratio is None or evidence.control is None:
        return Quality("unstable", ("too few rounds for an interval",))
    unstable = tuple(_unstable(evidence, evidence.ratio, evidence.control))
    if unstable:
        return Quality("unstable", unstable)
    noisy = tuple(_noisy(evidence, evidence.ratio, evidence.control))
    if noisy:
        return Quality("noisy", noisy)
    return Quality("stable", (f"ratio within ±{evidence.ratio.half_width:.1%}, A and A′ do not differ",))


def same_as_reference(ratio: Ratio, control: Ratio) -> bool:
    """Return whether the difference is less than twice that of two instances of the reference."""
    return not abs(ratio.median - 1) >= 2 * control.reach


def _unstable(evidence: Evidence, ratio: Ratio, control: Ratio) -> Iterator[str]:
    distance = max(control.low - 1, 1 - control.high)
    steal = evidence.steal or 0.0
    checks = (
        (distance <= LUCK, f"two instances of the reference differ by more than {LUCK:.0%}: {_interval(control)}"),
        (control.half_width <= USABLE, _known("the ratio of two instances of the reference", control)),
        (
            evidence.control_shift <= SHIFT,
            f"two instances of the reference shifted by {evidence.control_shift:.1%} against each other",
        ),
        (ratio.half_width <= USABLE, _known("the ratio", ratio)),
        (evidence.shift <= SHIFT, f"the ratio shifted by {evidence.shift:.1%}"),
        (steal <= STEAL, f"{steal:.1%} of the processor time was stolen"),
        (evidence.throttled <= THROTTLED, f"throttled in {evidence.throttled:.0%} of the rounds"),
        (evidence.steady, "warming up did not end in a steady state"),
    )
    return (reason for passed, reason in checks if not passed)


def _noisy(evidence: Evidence, ratio: Ratio, control: Ratio) -> Iterator[str]:
    hidden = f"differences below {2 * control.reach:.0%} are not shown"
    checks = (
        (control.contains_one, f"two instances of the reference differ: {_interval(control)}; {hidden}"),
        (control.half_width <= PRECISE, _known("the ratio of two instances of the reference", control)),
        (ratio.half_width <= PRECISE, _known("the ratio", ratio)),
        (evidence.spread <= SPREAD, f"round medians spread by {evidence.spread:.1%}"),
        (evidence.power_capped <= POWER_CAPPED, f"power-capped in {evidence.power_capped:.0%} of the rounds"),
    )
    return (reason for passed, reason in checks if not passed)


def _interval(ratio: Ratio) -> str:
    return f"[{ratio.low:.3f}, {ratio.high:.3f}]"


def _known(name: str, ratio: Ratio) -> str:
    return f"{name} is known to ±{ratio.half_width:.2%} only"
