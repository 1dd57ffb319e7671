"""Cells measured side by side: planted defects, the end of a cell, and the budget that cells share."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.gate import compare
from bench.gate.compare import BASELINE, CANDIDATE, CONTROL, cell_of, compare_folders, stop_decision
from bench.gate.decision import CellData, allowed_slowdown, decide_cell, slowdown_of
from bench.harness.candidates import Candidate
from bench.harness.measurements import Measurements
from bench.harness.rounds import Plan, run_rounds
from bench.harness.settings import Settings
from bench.sessions.exported import read_export
from bench.stats.steadiness import WarmUpRule
from bench.stats.stopping import StopRule
from export.common.errors import BadInput
from tests.bench.gate.planted import executed, measured_pair
from tests.support.bench_sessions import FakeClock, Scripted


@pytest.mark.parametrize(
    ("planted", "outcome", "reason"),
    [
        ({}, "PASS", "times the baseline's time"),
        ({"facts": {"executed": executed(120)}}, "FAIL", "120 nodes"),
        ({"facts": {"executed": executed(fp32=46, bf16=1)}}, "FAIL", "1 convolutions are not in fp32"),
        ({"facts": {"executed": None}}, "PASS", "times the baseline's time"),
        ({"late": 2.0}, "FAIL", "p99"),
        ({"peak_mib": 106}, "FAIL", "peak memory grew by 6.0%"),
        ({"load_s": 0.7}, "PASS", "times the baseline's time"),
    ],
)
def test_a_cell_with_a_planted_defect(planted: Any, outcome: str, reason: str) -> None:
    cell = cell_of((Candidate("openvino", "fp32", 1, None),) * 2, measured_pair(**planted), 1)
    assert cell.outcome == outcome, cell
    assert reason in cell.reasons[0]
    assert any("loading took 40% longer" in note for note in cell.notes) == ("load_s" in planted)
    assert cell.p99 is not None


def test_cells_share_the_budget_and_leave_the_rest_to_the_next(
    demo_export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is measured: one cell ends after 4 s, the other would take longer than its share."""
    exported, budgets_s = read_export(demo_export), []
    times_s = iter([0.0, 4.0, 4.0, 500.0])  # start and end of both cells
    monkeypatch.setattr("bench.gate.compare.time.monotonic", lambda: next(times_s))

    def measure(*arguments: Any) -> Measurements:
        budgets_s.append(arguments[3].rule.budget_s)
        return measured_pair()

    monkeypatch.setattr(compare, "measure_pair", measure)
    settings = Settings(1, StopRule(budget_s=100), WarmUpRule())
    comparison = compare_folders(exported, exported, ("onnxruntime", "openvino"), ("fp32",), settings)
    assert budgets_s == [50, 96]
    assert len(comparison.cells) == 2


def run(slowdown: float, noise: float) -> tuple[int, str]:
    """Run rounds with scripted latencies until the gate stops; return their number and the outcome."""
    rng, clock = np.random.default_rng(0), FakeClock()
    shared = rng.lognormal(0, 0.2, 200)
    latencies_ms = {name: 10 * shared * rng.lognormal(0, noise, 200) for name in (BASELINE, CONTROL, CANDIDATE)}
    latencies_ms[CANDIDATE] *= slowdown
    runners = {name: Scripted(clock, values) for name, values in latencies_ms.items()}
    plan = Plan(BASELINE, StopRule(), decide=stop_decision(1, 1e9, "CPU"), max_rounds=200)
    rounds = run_rounds(runners, dict.fromkeys(runners, 10.0), plan, clock=clock)
    ratio, control = (rounds.ratio(BASELINE, name) for name in (CANDIDATE, CONTROL))
    assert ratio is not None
    data = CellData(slowdown_of(ratio), allowed_slowdown("CPU", control))
    return rounds.completed, decide_cell(data).outcome


@pytest.mark.parametrize(("slowdown", "outcome"), [(1.06, "FAIL"), (1.0, "PASS"), (0.9, "IMPROVED")])
def test_a_planted_slowdown_fails_and_an_identical_pair_passes(slowdown: float, outcome: str) -> None:
    assert run(slowdown, 0.01) == (20, outcome)


def test_an_undecided_cell_is_measured_longer_and_may_stay_inconclusive() -> None:
    assert run(1.0, 0.06)[0] in (40, 80, 160)
    assert run(1.03, 0.02) == (160, "INCONCLUSIVE")


def test_two_models_are_refused_before_anything_is_measured(demo_export: Path) -> None:
    exported = read_export(demo_export)
    deeper = exported.manifest.architecture.model_copy(update={"depths": (3, 3, 9, 3)})
    other = replace(exported, manifest=exported.manifest.model_copy(update={"model": "L", "architecture": deeper}))
    settings = Settings(1, StopRule(budget_s=100), WarmUpRule())
    with pytest.raises(BadInput, match=r"different models.*XS-atto and L: depths"):
        compare_folders(exported, other, ("onnxruntime",), ("fp32",), settings)
