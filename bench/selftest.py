"""Is the harness itself to be believed? What it adds, whether it reads a known delay, what its rules see, and whether
other tools' timers agree with it (``bench.agreement_checks``)."""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np

from bench.backends.protocol import Joints
from bench.machine import machine
from bench.remote import Remote
from bench.replay import Replayed, pooled, read_trace, replay
from bench.stopping import StopRule
from bench.worker import HOST_E2E, Job
from export.progress import Progress, silent

DELAYS_MS = (0.2, 1.0, 10.0)
DELAY_TOLERANCE = 0.01
OVERHEAD_NS = 1000.0
OVERHEAD_SHARE = 0.005
"""Of the fastest median that is measured; each result says what it was."""
TRIALS, SEEDS = 400, range(5)
"""A 95 % interval misses the truth in nearly one of twenty trials, so the rate is taken of all seeds together: of a
single one, chance decides on which side of 5 % it falls."""
DETECTED, FLAGGED = TRIALS * 95 // 100, len(SEEDS) * TRIALS * 5 // 100
PATIENT = StopRule(budget_s=float("inf"), quantile=0.5)
TIMEOUT_S = 120.0


Outcome = Literal["pass", "fail", "inconclusive", "not run"]


@dataclass(frozen=True)
class Finding:
    """One check: what was read, what was wanted."""

    check: str
    read: str
    wanted: str
    outcome: Outcome
    figures: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs."""


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Plain data."""
    return {
        "schema_version": "1.0",
        "kind": "selftest",
        "machine": machine(),
        "findings": [asdict(finding) for finding in findings],
    }


class BusyWait:
    """A backend that takes a known time and does nothing."""

    runtime, precision, takes_pixels = "busy wait", "fp32", True

    def __init__(self, delay_ms: float) -> None:
        self._delay_s = delay_ms / 1e3
        self._joints = np.zeros((1, 1, 3), np.float32)

    def run(self, images: Any) -> Joints:
        """See ``bench.backends.protocol.Backend``."""
        until = time.perf_counter() + self._delay_s
        while time.perf_counter() < until:
            pass
        return self._joints

    def describe(self) -> str:
        """See ``bench.backends.protocol.Backend``."""
        return f"waits {self._delay_s * 1e3:g} ms"

    def close(self) -> None:
        """See ``bench.backends.protocol.Backend``."""


def selftest(progress: Progress = silent) -> Iterator[Finding]:
    """Each check in turn. The first ones time this machine; the last ones replay what is recorded."""
    with tempfile.TemporaryDirectory(prefix="convnextpose-selftest-") as folder:
        for delay_ms in DELAYS_MS:
            progress(f"a delay of {delay_ms:g} ms")
            read = _measure(delay_ms, Path(folder))
            if delay_ms == DELAYS_MS[0]:
                yield judge_overhead(read["overhead_ns"])
            yield judge_delay(delay_ms, read["latency_ms"])
    progress("replaying")
    trace = read_trace()
    slow = replay(trace, 0.02, trials=TRIALS, rule=PATIENT)
    equal = pooled([replay(trace, 0.0, trials=TRIALS, rule=PATIENT, seed=seed) for seed in SEEDS])
    yield judge_replay("2 % slower, replayed", slow, f"≥ {DETECTED} detected", slow.detected >= DETECTED)
    yield judge_replay("equal, replayed", equal, f"≤ {FLAGGED} flagged", equal.detected <= FLAGGED)


def judge_overhead(added_ns: float) -> Finding:
    """What timing adds to a call."""
    outcome = _outcome(added_ns <= OVERHEAD_NS)
    figures = {"added_ns": added_ns}
    return Finding("added to a call", f"{added_ns:.0f} ns", f"≤ {OVERHEAD_NS:g} ns", outcome, figures)


def judge_delay(delay_ms: float, read_ms: float) -> Finding:
    """A known delay against what was read."""
    off = read_ms / delay_ms - 1
    shown, wanted = f"{read_ms:.4f} ms ({off:+.2%})", f"±{DELAY_TOLERANCE:.0%}"
    figures = {"delay_ms": delay_ms, "read_ms": read_ms}
    return Finding(f"delay of {delay_ms:g} ms", shown, wanted, _outcome(abs(off) <= DELAY_TOLERANCE), figures)


def judge_replay(check: str, seen: Replayed, wanted: str, passed: bool) -> Finding:
    """How often a difference was seen in what is recorded."""
    rounds = median(seen.rounds)
    read = f"{seen.detected} of {seen.trials} ({seen.detected / seen.trials:.1%}), median {rounds:.0f} rounds"
    figures = {"detected": seen.detected, "trials": seen.trials, "median_rounds": rounds}
    return Finding(check, read, wanted, _outcome(passed), figures)


def _outcome(passed: bool) -> Outcome:
    return "pass" if passed else "fail"


def _measure(delay_ms: float, folder: Path) -> Mapping[str, float]:
    inputs = folder / "inputs.npy"
    np.save(inputs, np.zeros((1, 8, 8, 3), np.uint8))
    remote = Remote(Job(partial(BusyWait, delay_ms), inputs), {}, folder / "log")
    try:
        remote.call("load", timeout_s=TIMEOUT_S)
        visits = [remote.call("visit", 50, timeout_s=TIMEOUT_S)[HOST_E2E] for _ in range(5)]
        overhead = remote.call("overhead_ns", timeout_s=TIMEOUT_S)
    finally:
        remote.end()
    return {"latency_ms": median(map(median, visits)), "overhead_ns": overhead}
