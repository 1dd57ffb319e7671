"""A benchmark that is as short as one can be, and what it leaves behind."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import psutil

from bench.harness.entries import Settings, Timeouts
from bench.stats.steadiness import WarmUpRule
from bench.stats.stopping import StopRule

QUICK = Settings(
    threads=1,
    rule=StopRule(half_width=10.0, quantile=0.5, first_look=6),
    warm_up=WarmUpRule(minimum_s=0.02, cap_s=0.2, window_s=0.01),
    timeouts=Timeouts(load_s=120, answer_s=60),
)
"""As few rounds as have an interval, however wide: a busy machine is no failure."""


def judged(name: str, joints: Any) -> Mapping[str, Any]:
    good = np.ptp(joints, axis=0).min() > 0 and float(joints[0, 0, 0]) < 300
    return {"outcome": "pass" if good else "fail", "reason": "as told"}


def children() -> list[psutil.Process]:
    """Workers of this process that still exist; other tests, and Python itself, may have left it other children."""
    found = psutil.Process().children(recursive=True)
    return [child for child in found if "spawn_main" in " ".join(child.cmdline())]
