"""What a row's figures may be used for: stable, noisy, unstable or invalid, with every reason in words.

All thresholds stand here. They are those of the protocol in docs/measuring.md, which says what was seen with them.
"""

from dataclasses import dataclass
from typing import Literal

from bench.stats.statistics import Ratio

Name = Literal["stable", "noisy", "unstable", "invalid"]

PRECISE = 0.01
"""Half-width of a ratio's interval up to which figures are called stable."""
USABLE = 0.03
"""Half-width above which no speed-up is printed."""
LUCK = 0.05
"""How far the control's interval may keep away from 1. Processes of one network differ for as long as they live: four
of PyTorch by up to 6 % (docs/measuring.md). Up to here that is named, and hides what is not twice as large."""
SPREAD = 0.05
"""Interquartile range of round medians over their median."""
DRIFT = 0.05
"""Of the ratio between the first and the last third of the rounds."""
STEAL = 0.01
"""Share of processor time that the hypervisor gave to others."""
THROTTLED = POWER_CAPPED = 0.1
"""Share of rounds."""
OVERHEAD_NS, OVERHEAD_SHARE = 1000.0, 0.005
"""Largest overhead of the timing loop per iteration; the share is of the fastest measured median."""


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict rests on."""

    faults: tuple[str, ...] = ()
    """Whatever makes timing meaningless: parity, NaN, wrong device or precision, a crash."""
    ratio: Ratio | None = None
    """To the reference; the control's for the reference itself."""
    control: Ratio | None = None
    """A′ to A: two instances of the reference, which must not differ."""
    control_faults: tuple[str, ...] = ()
    """Why A′ is not there, or not to be believed."""
    control_drift: float = 0.0
    """Of A′ to A."""
    spread: float = 0.0
    drift: float = 0.0
    steal: float | None = None
    """None: cannot be read on this machine."""
    throttled: float = 0.0
    power_capped: float = 0.0
    steady: bool = True


@dataclass(frozen=True)
class Quality:
    """One of four words, and why."""

    name: Name
    reasons: tuple[str, ...]

    @property
    def timing(self) -> bool:
        """Whether any timing may be shown."""
        return self.name != "invalid"

    @property
    def speed_up(self) -> bool:
        """Whether a speed-up, a rank or a tail may be shown."""
        return self.name in ("stable", "noisy")


def assess(seen: Evidence) -> Quality:
    """The verdict of one row. Comparisons are written so that NaN is unstable."""
    if seen.faults:
        return Quality("invalid", seen.faults)
    unstable = tuple(_unstable(seen))
    if unstable:
        return Quality("unstable", unstable)
    noisy = tuple(_noisy(seen))
    if noisy:
        return Quality("noisy", noisy)
    assert seen.ratio is not None
    return Quality("stable", (f"ratio within ±{seen.ratio.half_width:.1%}, A and A′ do not differ",))


def same_as_reference(ratio: Ratio, control: Ratio) -> bool:
    """Whether the difference is less than twice what two instances of the reference may differ by."""
    return not abs(ratio.median - 1) >= 2 * control.reach


def _unstable(seen: Evidence) -> list[str]:
    if seen.control_faults:
        return [f"the reference's second instance, {fault}" for fault in seen.control_faults]
    if seen.ratio is None or seen.control is None:
        return ["too few rounds for an interval"]
    reasons = []
    away = max(seen.control.low - 1, 1 - seen.control.high)
    if not away <= LUCK:
        reasons.append(f"two instances of the reference differ by more than {LUCK:.0%}: {_interval(seen.control)}")
    if not seen.control.half_width <= USABLE:
        half_width = f"±{seen.control.half_width:.2%}"
        reasons.append(f"that two instances of the reference are equal is known to {half_width} only")
    if not seen.control_drift <= DRIFT:
        reasons.append(f"two instances of the reference drifted by {seen.control_drift:.1%} against each other")
    if not seen.ratio.half_width <= USABLE:
        reasons.append(f"the ratio is known to ±{seen.ratio.half_width:.2%} only")
    if not seen.drift <= DRIFT:
        reasons.append(f"the ratio drifted by {seen.drift:.1%}")
    if seen.steal is not None and not seen.steal <= STEAL:
        reasons.append(f"{seen.steal:.1%} of the processor time was stolen")
    if not seen.throttled <= THROTTLED:
        reasons.append(f"throttled in {seen.throttled:.0%} of the rounds")
    if not seen.steady:
        reasons.append("warming up did not end in a steady state")
    return reasons


def _noisy(seen: Evidence) -> list[str]:
    assert seen.ratio is not None
    assert seen.control is not None
    reasons = []
    if not seen.control.contains_one:
        hidden = f"no difference below {2 * seen.control.reach:.0%} is told"
        reasons.append(f"two instances of the reference differ: {_interval(seen.control)}; {hidden}")
    if not seen.control.half_width <= PRECISE:
        reasons.append(f"that two instances of the reference are equal is known to ±{seen.control.half_width:.1%}")
    if not seen.ratio.half_width <= PRECISE:
        reasons.append(f"the ratio is known to ±{seen.ratio.half_width:.1%}")
    if not seen.spread <= SPREAD:
        reasons.append(f"round medians spread by {seen.spread:.1%}")
    if not seen.power_capped <= POWER_CAPPED:
        reasons.append(f"power-capped in {seen.power_capped:.0%} of the rounds")
    return reasons


def _interval(ratio: Ratio) -> str:
    return f"[{ratio.low:.3f}, {ratio.high:.3f}]"
