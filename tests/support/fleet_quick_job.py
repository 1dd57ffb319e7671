"""The real process that measures, in less time: rows warm up for a moment only, so that their figures mean nothing.

As a preload of a Dask worker, or imported, it puts itself in the place of ``bench.fleet.job``.
"""

import sys
from dataclasses import replace
from pathlib import Path

from bench.fleet import child, job
from bench.harness import benchmark
from bench.stats.steadiness import WarmUpRule

COMMAND = (sys.executable, str(Path(__file__).resolve()))


def dask_setup(worker: object) -> None:
    """What Dask calls in a preload."""
    child.COMMAND = COMMAND


if __name__ == "__main__":
    warm_up = WarmUpRule(minimum_s=0.1, cap_s=0.2)
    benchmark.QUICK_MODE = replace(benchmark.QUICK_MODE, warm_up=warm_up, image_s=0.1, throughput_s=0.05)
    sys.exit(job.start())
