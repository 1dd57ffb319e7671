"""The real measuring process with a short benchmark.

As a preload of a Dask worker, or imported, it takes the place of ``bench.fleet.job``.
"""

import sys
from pathlib import Path

from tests.support.short_bench import shorten

COMMAND = (sys.executable, str(Path(__file__).resolve()))


def dask_setup(_: object) -> None:
    """Replace the measuring process; Dask calls this in a preload."""
    from bench.fleet import child

    child.COMMAND = COMMAND


if __name__ == "__main__":
    from bench.fleet import job

    shorten()
    sys.exit(job.start())
