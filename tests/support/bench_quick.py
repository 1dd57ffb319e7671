"""A benchmark that is as short as possible, its parity check, and its workers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import psutil

from bench.harness.settings import Settings, Timeouts
from bench.harness.workload import Workload
from bench.stats.steadiness import WarmUpRule
from bench.stats.stopping import StopRule

QUICK = Settings(
    threads=1,
    rule=StopRule(half_width=10.0, quantile=0.5, first_look=6),
    warm_up=WarmUpRule(minimum_s=0.02, cap_s=0.2, window_s=0.01),
    timeouts=Timeouts(load_s=120, answer_s=60),
)
"""As few rounds as have an interval, however wide: a busy machine is no failure."""


def check_parity(workload: Workload, joints: Any) -> Mapping[str, Any]:
    good = np.ptp(joints, axis=0).min() > 0 and float(joints[0, 0, 0]) < 300
    return {"outcome": "pass" if good else "fail", "reason": "planted"}


def worker_processes() -> list[psutil.Process]:
    """Workers of this process that still exist; other tests, and Python itself, may have left it other children."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
