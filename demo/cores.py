"""How many threads a long run should use beside other work.

The threads of one step wait for one another. If another program keeps one of two cores busy, a step on two
threads of low priority takes eight times as long as it should; on one thread, twice as long.
"""

import os
import time
from pathlib import Path

import torch

STARVED = 0.7
"""Share of its threads' time that the process must get; below it, other work is in the way."""
IDLE = 0.8
"""Cores that must lie idle, as a multiple of one, before a thread more is tried."""
PROC_STAT = Path("/proc/stat")


class SharedCores:
    """Call ``adjust`` after each step."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.threads = most
        self._wall, self._used, self._idle = _times()
        torch.set_num_threads(most)

    def adjust(self) -> None:
        """Give a core up if it was not granted; take one if it lay idle."""
        wall, used, idle = _times()
        elapsed = max(wall - self._wall, 1e-6)
        if self.threads > 1 and (used - self._used) / elapsed < STARVED * self.threads:
            self._set(self.threads - 1)
        elif self.threads < self.most and (idle - self._idle) / elapsed > IDLE:
            self._set(self.threads + 1)
        self._wall, self._used, self._idle = wall, used, idle

    def _set(self, threads: int) -> None:
        self.threads = threads
        torch.set_num_threads(threads)


def _times() -> tuple[float, float, float]:
    """Seconds on the clock, seconds of computing by this process, seconds that all cores together lay idle."""
    idle = 0.0
    if PROC_STAT.exists():
        fields = PROC_STAT.read_text().split("\n", 1)[0].split()
        idle = (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter(), time.process_time(), idle
