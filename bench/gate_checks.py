"""The gate on a real run whose answer is known: a file against itself, and against itself with a delay planted."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from bench.backends.slowed import open_slowed
from bench.benchmark import QUICK_MODE
from bench.candidates import Candidate
from bench.compare import Cell, compare_pairs
from bench.entries import Settings
from bench.exported import ONNX_RUNTIME, ExportFolder
from bench.gate import Outcome as GateOutcome
from bench.selftest import Finding, Outcome
from bench.stopping import StopRule
from bench.worker import Job
from export.progress import Progress, silent

PLANTED = 0.05
BUDGET_S = 150.0
WARM_UP = QUICK_MODE.warm_up
EXPECTED: dict[float, GateOutcome] = {0.0: "PASS", PLANTED: "FAIL"}
"""Planted slowdown → what the gate should say."""


@dataclass(frozen=True)
class SlowedCandidate(Candidate):
    """A candidate whose worker takes longer."""

    share: float = 0.0

    def job(self, exported: ExportFolder, inputs: Path, *, nocopy: bool = False, graph: bool = True) -> Job:
        """See ``Candidate``."""
        job = super().job(exported, inputs, nocopy=nocopy, graph=graph)
        return replace(job, open=partial(open_slowed, job.open, self.share))


def gate_checks(
    exported: ExportFolder, *, threads: int = 1, budget_s: float = BUDGET_S, progress: Progress = silent
) -> Iterator[Finding]:
    """The gate's whole way, workers and rounds included, over the FP32 file in ONNX Runtime.

    Args:
        exported: its FP32 file is baseline and candidate.
        threads: of the runtime.
        budget_s: for the rounds of each check.
        progress: is told the round.
    """
    settings = Settings(threads, StopRule(budget_s=budget_s), WARM_UP)
    same = Candidate(ONNX_RUNTIME, "fp32", threads, exported.onnx("fp32"))
    for share in EXPECTED:
        slowed = SlowedCandidate(same.runtime, same.precision, same.threads, same.artifact, share)
        (cell,) = compare_pairs(exported, exported, [(same, slowed)], settings, progress).cells
        yield judge_gate(share, cell)


def judge_gate(share: float, cell: Cell) -> Finding:
    """What the gate said, against what it should have said."""
    expected = EXPECTED[share]
    outcome: Outcome = "pass" if cell.outcome == expected else "fail"
    if expected == "FAIL" and outcome == "pass" and not _is_slower(cell):
        outcome = "fail"  # for another reason than the one that was planted
    if cell.outcome == "INCONCLUSIVE":
        outcome = "inconclusive"
    read = f"{cell.outcome} after {cell.rounds} rounds: {'; '.join(cell.reasons)}"
    figures = {
        "planted": share,
        "outcome": cell.outcome,
        "rounds": cell.rounds,
        "slowdown": cell.slowdown and asdict(cell.slowdown),
    }
    named = f"the gate, {share:.0%} slower" if share else "the gate, a file against itself"
    return Finding(named, read, expected, outcome, figures)


def _is_slower(cell: Cell) -> bool:
    return cell.slowdown is not None and cell.slowdown.low > 1 + cell.allowed
