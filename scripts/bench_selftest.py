"""Self-test of the timing harness with known delays and known slow-downs.

Run as ``python -m scripts.bench_selftest EXPORTED_FOLDER`` (``make bench-selftest``). Exit code 1: a check failed.
Exit code 3: a check was inconclusive; repeat it on an idle machine. ``test_replay.py`` needs no clock.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np

from bench.gate.compare import compare_pairs
from bench.gate.decision import Cell
from bench.harness.benchmark import QUICK_MODE
from bench.harness.candidates import Candidate
from bench.harness.settings import Settings
from bench.harness.worker_process import WorkerProcess
from bench.harness.workload import HOST_E2E, Workload
from bench.sessions.exported import ONNX_RUNTIME, ExportFolder, read_export
from bench.sessions.protocol import Accountable, Joints, Session
from bench.stats.quality import OVERHEAD_NS
from bench.stats.stopping import StopRule
from cli.exclusive import exclusive_machine
from export.common.errors import Failure

DELAYS_MS = (0.2, 1.0, 10.0)
DELAY_TOLERANCE = 0.01
PLANTED = 0.05
"""Slow-down of the candidate that the gate must fail."""
BUDGET_S = 150.0
THREADS = 1

Outcome = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    check: str
    read: str
    expected: str
    outcome: Outcome


class Slowed:
    """A session that takes longer by a share of its own time."""

    def __init__(self, inner: Session, share: float) -> None:
        self._inner, self._share = inner, share
        self.runtime, self.precision, self.takes_pixels = inner.runtime, inner.precision, inner.takes_pixels

    def run(self, images: Any) -> Joints:
        """See ``Session``."""
        began = time.perf_counter()
        joints = self._inner.run(images)
        _wait_until(began + (time.perf_counter() - began) * (1 + self._share))
        return joints

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``."""
        return self._inner.facts() if isinstance(self._inner, Accountable) else {}

    def describe(self) -> str:
        """See ``Session``."""
        return self._inner.describe()

    def close(self) -> None:
        """See ``Session``."""
        self._inner.close()


class BusyWait:
    """A session that takes a known time and does nothing."""

    runtime, precision, takes_pixels = "busy wait", "fp32", True

    def __init__(self, delay_ms: float) -> None:
        self._delay_s = delay_ms / 1e3

    def run(self, images: Any) -> Joints:
        """See ``Session``."""
        _wait_until(time.perf_counter() + self._delay_s)
        return np.zeros((1, 1, 3), np.float32)

    def describe(self) -> str:
        """See ``Session``."""
        return "busy wait"

    def close(self) -> None:
        """See ``Session``."""


@dataclass(frozen=True)
class SlowedCandidate(Candidate):
    """A candidate whose worker takes longer by ``share``."""

    share: float = 0.0

    def workload(
        self, exported: ExportFolder, name: str | None = None, *, nocopy: bool = False, graph: bool = True
    ) -> Workload:
        """See ``Candidate``."""
        workload = super().workload(exported, name, nocopy=nocopy, graph=graph)
        return replace(workload, open=partial(_open_slowed, workload.open, self.share))


def check_delays() -> Iterator[Finding]:
    """Compare known delays with a worker's measurement, and check the overhead of the timing loop."""
    with tempfile.TemporaryDirectory(prefix="convnextpose-selftest-") as folder:
        inputs = Path(folder) / "inputs.npy"
        np.save(inputs, np.zeros((1, 8, 8, 3), np.uint8))
        for delay_ms in DELAYS_MS:
            workload = Workload("busy wait", partial(BusyWait, delay_ms))
            worker = WorkerProcess(workload, inputs, {}, Path(folder))
            try:
                worker.call("load", timeout_s=120)
                medians_ms = [median(worker.call("run_block", 50, timeout_s=120)[HOST_E2E]) for _ in range(5)]
                added_ns = worker.call("overhead_ns", timeout_s=120)
            finally:
                worker.end()
            yield judge_delay(delay_ms, median(medians_ms))
    yield Finding("added to a call", f"{added_ns:.0f} ns", f"≤ {OVERHEAD_NS:g} ns", _outcome(added_ns <= OVERHEAD_NS))


def judge_delay(delay_ms: float, read_ms: float) -> Finding:
    """Compare a known delay with the measured one; NaN fails."""
    error = read_ms / delay_ms - 1
    outcome = _outcome(abs(error) <= DELAY_TOLERANCE)
    return Finding(f"delay of {delay_ms:g} ms", f"{read_ms:.4f} ms ({error:+.2%})", f"±{DELAY_TOLERANCE:.0%}", outcome)


def check_gate(exported: ExportFolder) -> Iterator[Finding]:
    """Let the gate compare a file with itself, and with a slower copy."""
    settings = Settings(THREADS, StopRule(budget_s=BUDGET_S), QUICK_MODE.settings.warm_up)
    same = Candidate(ONNX_RUNTIME, "fp32", THREADS, exported.onnx("fp32"))
    for share in (0.0, PLANTED):
        slowed = SlowedCandidate(same.runtime, same.precision, same.threads, same.artifact, share)
        (cell,) = compare_pairs(exported, exported, [(same, slowed)], settings).cells
        yield judge_gate(share, cell)


def judge_gate(share: float, cell: Cell) -> Finding:
    """Compare the gate's outcome with the planted slow-down; the gate must fail for this reason."""
    expected = "FAIL" if share else "PASS"
    slower = cell.slowdown is not None and cell.slowdown.low > 1 + cell.allowed
    outcome = _outcome(cell.outcome == expected and slower == bool(share))
    if cell.outcome == "INCONCLUSIVE":
        outcome = "inconclusive"
    read = f"{cell.outcome} after {cell.rounds} rounds: {'; '.join(cell.reasons)}"
    return Finding(f"the gate, {share:.0%} slower", read, expected, outcome)


def exit_code(findings: Sequence[Finding]) -> int:
    """Return the exit code of all checks."""
    outcomes = [finding.outcome for finding in findings]
    return 1 if "fail" in outcomes else 3 if "inconclusive" in outcomes else 0


def _open_slowed(open_inner: Callable[[], Session], share: float) -> Slowed:
    return Slowed(open_inner(), share)


def _outcome(passed: bool) -> Outcome:
    return "pass" if passed else "fail"


def _wait_until(end: float) -> None:
    while time.perf_counter() < end:
        pass


def main() -> int:
    """Run all checks, print each result, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench_selftest", description=__doc__)
    parser.add_argument("folder", type=Path, help="an exported model, as build/S")
    findings = list[Finding]()
    try:
        exported = read_export(parser.parse_args().folder)
        with exclusive_machine():
            for checks in (check_delays(), check_gate(exported)):
                for finding in checks:
                    findings.append(finding)
                    text = f"{finding.check}: {finding.read} (expected {finding.expected})"
                    print(f"{finding.outcome:<13} {text}", flush=True)
    except Failure as failure:
        print(failure.report(), file=sys.stderr)
        return failure.exit_code
    return exit_code(findings)


if __name__ == "__main__":
    sys.exit(main())
