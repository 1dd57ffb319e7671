"""The real measuring process with short warm-ups and passes; its figures mean nothing.

As a preload of a Dask worker, or imported, it takes the place of ``bench.fleet.job``.
"""

import sys
from dataclasses import replace
from pathlib import Path

from bench.fleet import child, job
from bench.harness import benchmark
from bench.stats.steadiness import WarmUpRule

COMMAND = (sys.executable, str(Path(__file__).resolve()))


def dask_setup(_: object) -> None:
    """Replace the measuring process; Dask calls this in a preload."""
    child.COMMAND = COMMAND


if __name__ == "__main__":
    warm_up, mode = WarmUpRule(minimum_s=0.1, cap_s=0.2), benchmark.QUICK_MODE
    short = replace(mode.settings, warm_up=warm_up, image_s=0.1, throughput_s=0.05)
    benchmark.QUICK_MODE = replace(mode, settings=short)
    sys.exit(job.start())
