"""Is the harness itself to be believed? What it adds, whether it reads a known delay, and what its rules see."""

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.backends.protocol import Joints
from bench.remote import Remote
from bench.replay import read_trace, replay
from bench.stopping import StopRule
from bench.worker import HOST_E2E, Job
from export.progress import Progress, silent

DELAYS_MS = (0.2, 1.0, 10.0)
DELAY_TOLERANCE = 0.01
OVERHEAD_NS = 1000.0
TRIALS = 400
"""A 95 % interval misses the truth in nearly one of twenty trials: with a hundred, chance alone would decide."""
DETECTED, FLAGGED = TRIALS * 95 // 100, TRIALS * 5 // 100
PATIENT = StopRule(budget_s=float("inf"), quantile=0.5)
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Finding:
    """One check: what was read, what was wanted."""

    check: str
    read: str
    wanted: str
    passed: bool


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
                added = read["overhead_ns"]
                yield Finding("added to a call", f"{added:.0f} ns", f"≤ {OVERHEAD_NS:g} ns", added <= OVERHEAD_NS)
            off = read["latency_ms"] / delay_ms - 1
            passed = abs(off) <= DELAY_TOLERANCE
            yield Finding(f"delay of {delay_ms:g} ms", f"{read['latency_ms']:.4f} ms ({off:+.2%})", "±1%", passed)
    progress("replaying")
    trace = read_trace()
    slow, equal = (replay(trace, slowdown, trials=TRIALS, rule=PATIENT) for slowdown in (0.02, 0.0))
    seen = f"{slow.detected} of {TRIALS}, median {median(slow.rounds):.0f} rounds"
    yield Finding("2 % slower, replayed", seen, f"≥ {DETECTED} detected", slow.detected >= DETECTED)
    yield Finding("equal, replayed", f"{equal.detected} of {TRIALS}", f"≤ {FLAGGED} flagged", equal.detected <= FLAGGED)


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
