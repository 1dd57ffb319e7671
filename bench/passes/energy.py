"""Joules per inference: a pass of its own for one session at a time, after all timing.

In a first window every worker is stopped, in a second one the session runs without a pause. Gross is everything that
the counter counted; net excludes what the idle machine takes. MLPerf Power measures at the wall; these figures differ.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from bench.machine.energy_meters import Meter

Awake = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class EnergyPlan:
    """Lengths of the windows; the counters' own steps are too coarse for shorter ones."""

    busy_s: float = 30.0
    idle_s: float = 10.0


def measure_energy(
    meter: Meter,
    plan: EnergyPlan,
    awake: Awake,
    keep_going: Callable[[float], tuple[int, float]],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Mapping[str, Any]:
    """Return plain data for ``bench.results.result.Energy``.

    Args:
        meter: the counter.
        plan: lengths of the windows.
        awake: context in which the worker runs; outside of it every worker is stopped.
        keep_going: runs the worker for so many seconds and returns the number of inferences, and the seconds.
        clock: time in seconds.
        sleep: waits for so many seconds.

    Raises:
        ValueError: the counter did not move while the worker ran, so that it counts nothing.
    """
    idle_j, idle_s = _window(meter, clock, lambda: sleep(plan.idle_s))
    inferences: list[int] = []

    def run() -> None:
        inferences.append(keep_going(plan.busy_s)[0])

    with awake():
        busy_j, busy_s = _window(meter, clock, run)
    if not busy_j > 0:
        raise ValueError(f"{meter.source} counted nothing in {busy_s:.0f} s")
    (count,), idle_w = inferences, idle_j / idle_s
    return {
        "source": meter.source,
        "gross_j": busy_j / count,
        "net_j": (busy_j - idle_w * busy_s) / count,
        "inferences": count,
        "seconds": busy_s,
        "power_w": busy_j / busy_s,
        "idle_w": idle_w,
        "idle_seconds": idle_s,
        "caveat": meter.caveat,
    }


def _window(meter: Meter, clock: Callable[[], float], work: Callable[[], object]) -> tuple[float, float]:
    """Return the joules and seconds of ``work``."""
    began, before = clock(), meter.joules()
    work()
    after, ended = meter.joules(), clock()
    return after - before, ended - began
