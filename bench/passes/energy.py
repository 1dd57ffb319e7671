"""Joules an inference: a pass of its own, one backend at a time, after all that is timed.

First a window in which every worker is stopped, then one in which this one runs without a pause. Gross is all that the
counter saw, net is without what the machine took while idle. MLPerf Power measures at the wall; these are not that.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from bench.machine.energy_meters import Meter

AWAKE = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class EnergyPlan:
    """How long; shorter windows drown in the counters' own steps."""

    busy_s: float = 30.0
    idle_s: float = 10.0


def measure_energy(
    meter: Meter,
    plan: EnergyPlan,
    awake: AWAKE,
    keep_going: Callable[[float], tuple[int, float]],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Mapping[str, Any]:
    """Plain data as ``bench.results.result.Energy`` has it.

    Args:
        meter: what counts.
        plan: for how long.
        awake: within it the worker runs; outside every worker is stopped.
        keep_going: has the worker run for so many seconds; tells how many inferences that were.

    Raises:
        ValueError: the counter stood still while the worker ran, so that it counts nothing.
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
    """Joules and seconds that ``work`` took."""
    began, before = clock(), meter.joules()
    work()
    after, ended = meter.joules(), clock()
    return after - before, ended - began
