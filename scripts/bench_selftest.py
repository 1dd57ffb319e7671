"""Self-test of the timing harness with known delays, known slow-downs and the timers of other tools.

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
from bench.gate.decision import Cell, confidence_of_a_look
from bench.harness.benchmark import IMAGES, QUICK_MODE
from bench.harness.candidates import Candidate
from bench.harness.parity_check import ParityCheck
from bench.harness.rounds import Plan, RunBlock, run_rounds
from bench.harness.settings import Settings
from bench.harness.timed_model import TimedModel, one_by_one
from bench.harness.worker_process import WorkerProcess
from bench.harness.workload import DEVICE, HOST_E2E, Workload
from bench.sessions.exported import ONNX_RUNTIME, OPENVINO, ExportFolder, load_session, read_export
from bench.sessions.protocol import Accountable, Joints, Session
from bench.stats.quality import OVERHEAD_NS
from bench.stats.statistics import Ratio, speed_up
from bench.stats.stopping import StopRule
from cli.exclusive import exclusive_machine
from export.common.errors import Failure, NotPossible
from scripts.other_timers import P50, P90, BenchmarkApp, LoadGen, OurPercentiles

DELAYS_MS = (0.2, 1.0, 10.0)
DELAY_TOLERANCE = 0.01
PLANTED = 0.05
"""Slow-down of the candidate that the gate must fail."""
AGREEMENT = 0.02
"""Largest difference from another tool's timer, for the whole interval."""
ROUNDS = (20, 40, 80, 160)
"""Numbers of rounds after which two timers are compared; an inconclusive comparison is measured longer."""
BUDGET_S = 150.0
THREADS = 1
OURS, OTHER = "ours", "other"

Outcome = Literal["pass", "fail", "inconclusive", "not run"]


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


def check_other_timers(exported: ExportFolder) -> Iterator[Finding]:
    """Let OpenVINO's ``benchmark_app`` and MLPerf's LoadGen time the model that this harness loaded."""
    checks: tuple[tuple[str, Callable[[ExportFolder], Iterator[Finding]]], ...]
    checks = (("OpenVINO benchmark_app", _with_benchmark_app), ("MLPerf LoadGen", _with_loadgen))
    for tool, check in checks:
        try:
            yield from check(exported)
        except (ImportError, NotPossible) as error:
            yield Finding(tool, str(error), f"within {AGREEMENT:.0%}", "not run")


def _with_benchmark_app(exported: ExportFolder) -> Iterator[Finding]:
    backend, inputs, model, latency_ms = _loaded(exported, OPENVINO)
    for ratio in compare_timers(model.run_block, BenchmarkApp(backend, inputs).run_block, (DEVICE,), latency_ms):
        yield judge_agreement("benchmark_app, median", ratio)


def _with_loadgen(exported: ExportFolder) -> Iterator[Finding]:
    backend, inputs, model, latency_ms = _loaded(exported, ONNX_RUNTIME)
    loadgen = LoadGen([partial(backend.run, images) for images in inputs])
    ratios = compare_timers(OurPercentiles(model).run_block, loadgen.run_block, (P50, P90), latency_ms)
    for figure, ratio in zip((P50, P90), ratios, strict=True):
        yield judge_agreement(f"LoadGen, {figure}", ratio)


def compare_timers(
    ours: RunBlock,
    other: RunBlock,
    figures: Sequence[str],
    latency_ms: float,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> list[Ratio | None]:
    """Return the ratio of the other time to ours per figure, from alternating blocks, once every figure is decided.

    All looks at all figures share the interval's confidence, as in the gate.
    """
    confidence, rounds = confidence_of_a_look(len(figures)), None
    ratios: list[Ratio | None] = []
    for max_rounds in ROUNDS:
        plan = Plan(OURS, StopRule(half_width=0.0, budget_s=BUDGET_S), max_rounds=max_rounds)
        runners, latencies = {OURS: ours, OTHER: other}, {OURS: latency_ms, OTHER: latency_ms}
        rounds = run_rounds(runners, latencies, plan, clock=clock, earlier=rounds)
        if rounds.interrupted:
            raise KeyboardInterrupt
        ratios = [speed_up(*rounds.paired_ms(OTHER, OURS, figure), confidence) for figure in figures]
        decided = all(judge_agreement("", ratio).outcome != "inconclusive" for ratio in ratios)
        if decided or rounds.completed < max_rounds:  # fewer: the time budget is used up
            break
    return ratios


def judge_agreement(check: str, ratio: Ratio | None) -> Finding:
    """Decide from the whole interval: a wide interval and NaN are inconclusive."""
    expected, low, high = f"within {AGREEMENT:.0%}", 1 / (1 + AGREEMENT), 1 + AGREEMENT
    if ratio is None:
        return Finding(check, "no interval", expected, "inconclusive")
    outcome: Outcome = "inconclusive"
    if ratio.low >= low and ratio.high <= high:
        outcome = "pass"
    elif ratio.low > high or ratio.high < low:
        outcome = "fail"
    read = f"{ratio.median:.4f} [{ratio.low:.4f}, {ratio.high:.4f}] times ours, {ratio.rounds} rounds"
    return Finding(check, read, expected, outcome)


def exit_code(findings: Sequence[Finding]) -> int:
    """Return the exit code of all checks; a skipped check is no failure."""
    outcomes = [finding.outcome for finding in findings]
    return 1 if "fail" in outcomes else 3 if "inconclusive" in outcomes else 0


def _loaded(exported: ExportFolder, runtime: str) -> tuple[Any, Sequence[Any], TimedModel, float]:
    """Return a session, its inputs, its warm timer of this harness, and its approximate latency in ms."""
    backend: Session = load_session(exported, runtime, "fp32", THREADS)
    images = ParityCheck(exported).images[:IMAGES]
    with tempfile.TemporaryDirectory(prefix="convnextpose-selftest-") as folder:
        path = Path(folder) / "inputs.npy"
        np.save(path, images)
        model = TimedModel(Workload(runtime, lambda: backend), path)
        model.load()
    latency_ms = model.warm_up(QUICK_MODE.settings.warm_up).latency_ms
    return backend, one_by_one(images, takes_pixels=backend.takes_pixels), model, latency_ms


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
            for checks in (check_delays(), check_gate(exported), check_other_timers(exported)):
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
