"""What the gate judges beside the median: the tail, what is executed, sizes, and how long starting takes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.gate import compare
from bench.gate.compare import BASE, CANDIDATE, CONTROL, cell_of, compare_folders
from bench.gate.decision import CellSeen, Slowdown, judge_cell
from bench.gate.stored import compare_results
from bench.gate.tails import tail_ratio
from bench.harness.candidates import Candidate
from bench.harness.entries import Entry, Settings
from bench.harness.job import HOST_E2E, Loaded
from bench.harness.rounds import Measured, Visit
from bench.harness.run import Session
from bench.sessions.exported import read_export
from bench.stats.steadiness import WarmUpRule
from bench.stats.stopping import StopRule
from tests.support.bench_results import B, result, row, session

FINE = Slowdown(1.0, 0.99, 1.01)


def samples(rounds: int, each: int, *, late: float = 1.5, seed: int = 0) -> list[Any]:
    """Latencies around 10 ms of which one in thirty is ``late`` times as long."""
    rng = np.random.default_rng(seed)
    calm = rng.normal(10, 0.05, (rounds, each))
    calm[rng.random((rounds, each)) < 1 / 30] *= late
    return list(calm)


def seen_tail(candidate: list[Any], base: list[Any] | None = None) -> CellSeen:
    return CellSeen(FINE, 0.03, tail=tail_ratio(base or samples(30, 40), candidate, 0.95))


def test_a_longer_tail_fails_though_the_median_is_the_same() -> None:
    judged = judge_cell(seen_tail(samples(30, 40, late=2.0, seed=1)))
    assert judged.outcome == "FAIL"
    assert "times the baseline's p99; above 1.100" in judged.reasons[0]
    assert len(judged.reasons) == 1  # time itself was fine


def test_an_equal_tail_is_said_and_changes_nothing() -> None:
    judged = judge_cell(seen_tail(samples(30, 40, seed=1)))
    assert (judged.outcome, len(judged.notes)) == ("PASS", 1)
    assert "p99; allowed 1.100" in judged.notes[0]


def test_a_tail_that_is_not_known_holds_nothing_back() -> None:
    judged = judge_cell(seen_tail(samples(30, 40, late=1.65, seed=1)))
    assert judged.outcome == "PASS"
    assert "not known to be below 1.100" in judged.notes[0]


def test_both_reasons_are_told() -> None:
    slow = replace(seen_tail(samples(30, 40, late=2.0, seed=1)), slowdown=Slowdown(1.1, 1.08, 1.12))
    assert len(judge_cell(slow).reasons) == 2


@pytest.mark.parametrize(
    ("rounds", "each", "reason"),
    [(20, 33, "p99 not judged: 660 samples, fewer than 662"), (19, 40, "p99 not judged: 19 rounds, fewer than 20")],
)
def test_below_the_floors_a_tail_is_not_judged(rounds: int, each: int, reason: str) -> None:
    judged = judge_cell(seen_tail(samples(rounds, each, late=9.0), samples(rounds, each)))
    assert (judged.outcome, judged.notes) == ("PASS", (reason,))


def test_rounds_are_resampled_and_not_samples() -> None:
    """One slow round holds all late samples: as single samples they would be many, as a round they are one."""
    burst = [np.full(40, 10.0) for _ in range(30)]
    burst[7] = np.full(40, 20.0)
    tail = tail_ratio([np.full(40, 10.0)] * 30, burst, 0.95)
    assert tail.slowdown is not None
    assert (tail.slowdown.median, tail.slowdown.low) == (2.0, 1.0)


def executed(nodes: int = 116, **convolutions: int) -> Mapping[str, Any]:
    return {"nodes": nodes, "convolutions": convolutions or {"fp32": 47}}


@pytest.mark.parametrize(
    ("precision", "base", "candidate", "reason"),
    [
        ("fp32", executed(116), executed(117), "117 nodes are executed, the baseline's are 116"),
        ("int8", executed(int8=40, fp32=7), executed(int8=39, fp32=8), "8 convolutions are not in int8"),
        ("int8", executed(int8=47), executed(fp32=47), "47 convolutions are not in int8, the baseline's are 0"),
        ("fp32", executed(116), executed(115), None),
        ("fp16", executed(fp32=47), executed(fp32=47), None),  # fell back already
        ("int8", executed(int8=39, fp32=8), executed(int8=40, fp32=7), None),
    ],
)
def test_more_nodes_and_fallbacks_fail_at_once(precision: str, base: Any, candidate: Any, reason: str | None) -> None:
    judged = judge_cell(CellSeen(FINE, 0.03, precision=precision, executed=(base, candidate), doubts=("noise",)))
    assert judged.outcome == ("FAIL" if reason else "INCONCLUSIVE")
    assert reason is None or reason in judged.reasons[0]


def test_slower_starts_warn_only() -> None:
    starts = {"loading": (100.0, 126.0), "the cold start": (400.0, 490.0)}
    judged = judge_cell(CellSeen(FINE, 0.03, starts_ms=starts))
    assert judged.outcome == "PASS"
    assert judged.notes == ("loading took 26% longer (100 ms, 126 ms): a warning only",)


# From what a session has seen


def held(facts: Mapping[str, Any] = {}, *, load_s: float = 0.5, late: float = 1.5, peak: float = 100) -> Session:
    """30 rounds of 40 samples, of which the candidate's are as given."""
    visits = {
        name: [Visit(i, 0, {HOST_E2E: list(of)}) for i, of in enumerate(samples(30, 40, late=tail, seed=seed))]
        for seed, (name, tail) in enumerate({BASE: 1.5, CONTROL: 1.5, CANDIDATE: late}.items())
    }
    entries = {}
    for name in visits:
        ours = name == CANDIDATE
        about = {"device": "CPU", "executed": executed(), **(facts if ours else {})}
        loaded = Loaded(1, load_s if ours else 0.5, 20, "described", about, {}, (HOST_E2E,))
        entries[name] = Entry(loaded=loaded, memory_mib={"peak": peak if ours else 100})
    quiet: Mapping[str, Any] = {"steal_ticks": None, "total_ticks": None, "gpus": []}
    return Session(entries, Measured(visits, rounds=30, sensors=[quiet, quiet]))


def cell(of: Session) -> compare.Cell:
    return cell_of((Candidate("openvino", "fp32", 1, None),) * 2, of, 1)


@pytest.mark.parametrize(
    ("planted", "outcome", "said"),
    [
        ({}, "PASS", "times the baseline's time"),
        ({"facts": {"executed": executed(120)}}, "FAIL", "120 nodes"),
        ({"facts": {"executed": executed(fp32=46, bf16=1)}}, "FAIL", "1 convolutions are not in fp32"),
        ({"facts": {"executed": None}}, "PASS", "times the baseline's time"),
        ({"late": 2.0}, "FAIL", "p99"),
        ({"peak": 106}, "FAIL", "peak memory grew by 6.0%"),
        ({"load_s": 0.7}, "PASS", "times the baseline's time"),
    ],
)
def test_a_session_with_a_planted_defect(planted: Any, outcome: str, said: str) -> None:
    found = cell(held(**planted))
    assert found.outcome == outcome, found
    assert said in found.reasons[0]
    assert any("loading took 40% longer" in note for note in found.notes) == ("load_s" in planted)
    assert found.p99 is not None


def test_cells_share_the_budget_and_what_one_leaves_the_next_has(
    demo_export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is measured: each cell ends at once, or would have taken all that it was given."""
    exported, given = read_export(demo_export), []
    now = iter([0.0, 4.0, 4.0, 500.0])  # beginning and end of both cells
    monkeypatch.setattr("bench.gate.compare.time.monotonic", lambda: next(now))

    def hold(*arguments: Any) -> Session:
        given.append(arguments[3].rule.budget_s)
        return held()

    monkeypatch.setattr(compare, "hold_pair", hold)
    settings = Settings(1, StopRule(budget_s=100), WarmUpRule())
    found = compare_folders(exported, exported, ("onnxruntime", "openvino"), ("fp32",), settings)
    assert given == [50, 96]
    assert len(found.cells) == 2


# Stored results


def stored(base: Any, candidate: Any) -> tuple[Any, Any]:
    of = session({name: [20.0] * 30 for name in ("pytorch/fp32/b1/t2", "pytorch/fp32/b1/t2#control", B.id)})
    environment = {
        "host": {"cpu": "x", "usable_cores": 2, "machine": "x86_64", "governor": None},
        "gpus": [],
        "software": {"python": "3.11", "libraries": {}},
    }
    made = [
        result(of, rows=[row(of).model_copy(update={"facts": {"executed": facts}})], environment=environment)
        for facts in (base, candidate)
    ]
    return made[0], made[1]


def test_stored_results_know_fallbacks_and_say_that_no_tail_was_judged() -> None:
    (same,) = compare_results(*stored(executed(), executed())).cells
    assert (same.outcome, same.notes) == ("PASS", ("p99 not judged: rounds of two runs are not paired",))
    (more,) = compare_results(*stored(executed(), executed(117))).cells
    assert more.outcome == "FAIL"


@pytest.mark.parametrize("verdict", ["unstable", "invalid"])
def test_a_stored_baseline_that_is_not_to_be_believed_decides_nothing(verdict: str) -> None:
    base, candidate = stored(executed(), executed())
    doubtful = base.rows[0].model_copy(update={"verdict": verdict, "reasons": ["drifted"], "speed_up": None})
    (found,) = compare_results(base.model_copy(update={"rows": [doubtful]}), candidate).cells
    assert found.outcome == "INCONCLUSIVE"
    assert f"the baseline is {verdict}: drifted" in found.reasons[0]
