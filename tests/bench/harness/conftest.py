"""One worker process with a tiny session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.harness.worker_process import WorkerProcess
from bench.harness.workload import Workload
from tests.support.bench_sessions import Sleeper, write_inputs


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerProcess]:
    process = WorkerProcess(Workload("A", Sleeper), write_inputs(tmp_path), {"OMP_NUM_THREADS": "3"}, tmp_path)
    try:
        yield process
    finally:
        process.end()
