"""The regression gate: what fails, what passes, and what cannot be said."""

import math

import numpy as np
import pytest

from bench.gate import decision as gate
from bench.gate.compare import BASE, CANDIDATE, CONTROL, decide_on_cell
from bench.gate.decision import CellSeen, Judged, Slowdown
from bench.gate.stored import compare_results
from bench.harness.rounds import Plan, run_rounds
from bench.results.result import Row
from bench.stats.statistics import Ratio
from bench.stats.stopping import StopRule
from export.common.errors import BadInput
from tests.support.bench_results import STILL, B, result, row, session
from tests.support.bench_subjects import FakeClock, Scripted


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (1.031, 1.05, "FAIL"),
        (1.029, 1.05, "INCONCLUSIVE"),
        (1.01, 1.029, "PASS"),
        (0.95, 0.99, "PASS"),
        (0.9, 0.969, "IMPROVED"),
        (0.9, 1.2, "INCONCLUSIVE"),
        (math.nan, math.nan, "INCONCLUSIVE"),
    ],
)
def test_time_alone(low: float, high: float, outcome: str) -> None:
    assert gate.judge_time(Slowdown(1.0, low, high), 0.03) == outcome


FINE = Slowdown(1.0, 0.99, 1.01)


@pytest.mark.parametrize(
    ("seen", "outcome", "reason"),
    [
        (CellSeen(FINE, 0.03), "PASS", "times the baseline's"),
        (CellSeen(FINE, 0.03, faults=("parity fail",), doubts=("noise",)), "FAIL", "parity fail"),
        (CellSeen(FINE, 0.03, doubts=("noise",)), "INCONCLUSIVE", "noise"),
        (CellSeen(None, 0.03), "INCONCLUSIVE", "too few rounds"),
        (CellSeen(FINE, 0.03, sizes=(1000, 1021)), "FAIL", "the file grew by 2.1%"),
        (CellSeen(FINE, 0.03, sizes=(1000, 1020)), "PASS", "times"),
        (CellSeen(FINE, 0.03, memories_mib=(100, 106)), "FAIL", "peak memory grew by 6.0%"),
        (CellSeen(FINE, 0.03, memories_mib=(100, math.nan)), "FAIL", "peak memory"),
    ],
)
def test_a_cell(seen: CellSeen, outcome: str, reason: str) -> None:
    judged = gate.judge_cell(seen)
    assert judged.outcome == outcome
    assert reason in judged.reasons[0]


def test_the_worst_cell_decides_and_nothing_decides_nothing() -> None:
    cells = [Judged(outcome) for outcome in ("IMPROVED", "PASS", "INCONCLUSIVE", "FAIL")]
    assert [gate.judge_all(cells[: n + 1]) for n in range(4)] == ["IMPROVED", "PASS", "INCONCLUSIVE", "FAIL"]
    assert gate.judge_all([]) == "INCONCLUSIVE"


def test_noise_widens_what_is_allowed_a_little_and_then_forbids_to_judge() -> None:
    def control(half_width: float) -> Ratio:
        return Ratio(1.0, math.exp(-half_width), math.exp(half_width), 20)

    assert gate.allowed_slowdown("CPU", control(0.001)) == 0.03
    assert gate.allowed_slowdown("GPU 0", control(0.025)) == pytest.approx(0.025)
    assert gate.allowed_slowdown("CPU", None, stored=True) == 0.06
    assert gate.control_doubts(control(0.02)) == []
    assert gate.control_doubts(control(0.04))
    assert gate.control_doubts(Ratio(1.02, 1.011, 1.03, 20))
    assert gate.control_doubts(Ratio(math.nan, math.nan, math.nan, 20))


def test_cells_share_the_confidence() -> None:
    assert gate.confidence_of_a_cell(1) == pytest.approx(0.95)
    assert gate.confidence_of_a_cell(5) == pytest.approx(0.99)
    assert gate.confidence_of_a_look(1) == pytest.approx(1 - 0.05 / 4)
    assert gate.confidence_of_a_look(5) == pytest.approx(1 - 0.05 / 20)


def test_the_gate_looks_after_doublings() -> None:
    assert [n for n in range(400) if gate.is_gate_look(n)] == [20, 40, 80, 160]
    assert gate.last_look() == 160


def rounds(slower: float, noise: float, seed: int = 0) -> tuple[int, str]:
    """Rounds of scripted latencies under the gate's rule, and the outcome."""
    rng, clock = np.random.default_rng(seed), FakeClock()
    shared = rng.lognormal(0, 0.2, 200)
    own = {n: shared * rng.lognormal(0, noise, 200) for n in (BASE, CONTROL, CANDIDATE)}
    own[CANDIDATE] *= slower
    contenders = {name: Scripted(clock, 10 * of) for name, of in own.items()}
    plan = Plan(BASE, StopRule(), decide=decide_on_cell(1, 1e9, "CPU"), max_rounds=200)
    measured = run_rounds(contenders, dict.fromkeys(contenders, 10.0), plan, clock=clock)
    ratio, control = (measured.ratio(BASE, name) for name in (CANDIDATE, CONTROL))
    assert ratio is not None
    seen = CellSeen(gate.slowdown_of(ratio), gate.allowed_slowdown("CPU", control))
    return measured.rounds, gate.judge_cell(seen).outcome


def test_a_planted_slowdown_fails_and_an_identical_pair_passes() -> None:
    assert rounds(1.06, 0.01) == (20, "FAIL")
    assert rounds(1.0, 0.01) == (20, "PASS")
    assert rounds(0.9, 0.01) == (20, "IMPROVED")


def test_what_is_not_decided_is_measured_longer_and_may_stay_undecided() -> None:
    assert rounds(1.0, 0.06)[0] in (40, 80, 160)
    assert rounds(1.03, 0.02) == (160, "INCONCLUSIVE")


# Stored results


def stored(candidate_ms: float, **changes: object) -> object:
    host = {"cpu": "x", "usable_cores": 2, "machine": "x86_64", "governor": None}
    software = {"python": "3.11", "libraries": {"torch": "2.13.0"}}
    environment = {"host": host, "gpus": [], "software": software}
    of = session({**STILL, B.id: [candidate_ms] * 30})
    return result(of, **{"environment": environment, **changes})


def test_stored_results_are_compared_by_their_own_references() -> None:
    base = stored(10.0)
    assert compare_results(base, stored(10.1)).outcome == "PASS"  # type: ignore[arg-type]
    assert compare_results(base, stored(10.7)).outcome == "FAIL"  # type: ignore[arg-type]
    assert compare_results(base, stored(9.0)).outcome == "IMPROVED"  # type: ignore[arg-type]


def test_widths_of_two_runs_add_up() -> None:
    found = gate.slowdown_between_runs(Ratio(2, 1.9, 2.1, 20), Ratio(2, 1.9, 2.1, 20))
    assert math.log(found.high / found.low) == pytest.approx(2 * math.log(2.1 / 1.9))


def test_an_invalid_candidate_fails_and_an_unstable_or_missing_one_is_inconclusive() -> None:
    base = stored(10.0)
    broken = result(session(STILL, faults=["parity fail: 7 mm"]), environment=base.environment)  # type: ignore[attr-defined]
    (cell,) = compare_results(base, broken).cells  # type: ignore[arg-type]
    assert (cell.outcome, cell.reasons) == ("FAIL", ("parity fail: 7 mm",))
    short = session({name: of[:5] for name, of in STILL.items()})
    unstable = stored(10.0, rows=[row(short)])
    assert compare_results(base, unstable).outcome == "INCONCLUSIVE"  # type: ignore[arg-type]
    assert compare_results(base, stored(10.0, rows=[])).outcome == "INCONCLUSIVE"  # type: ignore[arg-type]


def test_other_machines_and_other_models_are_refused_with_the_difference() -> None:
    base, other = stored(10.0), stored(10.0, fingerprint="sha256:1")
    other.environment["software"] = {"python": "3.12", "libraries": {"torch": "2.13.0"}}  # type: ignore[attr-defined]
    found = compare_results(base, other)  # type: ignore[arg-type]
    assert (found.outcome, found.reasons) == ("REFUSED", ("python: 3.11 and 3.12",))
    with pytest.raises(BadInput, match="not of one model"):
        compare_results(base, stored(10.0, model="L"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"reference_id": "pytorch-cuda/fp32/b1/t2"}, "reference_id: pytorch/fp32/b1/t2 and pytorch-cuda/fp32/b1/t2"),
        ({"weights": "checkpoint"}, "weights: demo and checkpoint"),
        ({"mode": "publish"}, "mode: quick and publish"),
        ({"protocol": {"threads": 1}}, "threads: 2 and 1"),
        ({"protocol": {"threads": 2, "cuda_graph": False}}, "cuda_graph: None and False"),
    ],
)
def test_results_that_were_taken_differently_are_refused(changes: dict[str, object], difference: str) -> None:
    found = compare_results(stored(10.0), stored(10.0, **changes))  # type: ignore[arg-type]
    assert (found.outcome, found.reasons) == ("REFUSED", (difference,))


def test_a_difference_is_one_though_the_fingerprints_agree() -> None:
    base, other = stored(10.0), stored(10.0)
    other.environment["host"] = base.environment["host"] | {"cpu": "y"}  # type: ignore[attr-defined]
    assert compare_results(base, other).reasons == ("cpu: x and y",)  # type: ignore[arg-type]
    forged = stored(10.0, fingerprint="sha256:1")
    assert compare_results(base, forged).reasons == ("the fingerprints differ",)  # type: ignore[arg-type]


def control(half_width: float) -> dict[str, object]:
    return {"median": 1.0, "low": math.exp(-half_width), "high": math.exp(half_width), "rounds": 30}


@pytest.mark.parametrize("side", ["baseline", "candidate"])
@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"complete": False}, "the run was interrupted"),
        ({"control": None}, "its reference was not measured twice"),
        ({"control": control(0.07)}, "two instances of the reference are known to be equal to ±7.0% only"),
        ({"rows": [row(session({name: of[:19] for name, of in STILL.items()}))]}, "19 rounds, fewer than 20"),
    ],
)
def test_stored_results_that_do_not_suffice_decide_nothing(side: str, changes: dict[str, object], doubt: str) -> None:
    sides = [stored(10.0, **(changes if name == side else {})) for name in ("baseline", "candidate")]
    found = compare_results(*sides)  # type: ignore[arg-type]
    assert found.outcome == "INCONCLUSIVE"
    assert doubt in "; ".join(found.cells[0].reasons)
    assert side in "; ".join(found.cells[0].reasons)


def test_the_wider_control_of_two_runs_is_the_least_that_is_allowed() -> None:
    (cell,) = compare_results(stored(10.0), stored(10.0, control=control(0.07))).cells  # type: ignore[arg-type]
    assert cell.allowed == pytest.approx(0.07)
    (calm,) = compare_results(stored(10.0), stored(10.0)).cells  # type: ignore[arg-type]
    assert calm.allowed == 0.06


def test_stored_cells_share_the_confidence() -> None:
    seen = row(session(STILL))
    up = {"median": 2.0, "low": 1.96, "high": 2.04, "rounds": 30, "same": False}
    known = Row.model_validate(seen.model_dump() | {"speed_up": up})
    rows = [known, *(known.model_copy(update={"id": f"other {n}"}) for n in range(4))]
    (alone,) = compare_results(stored(10.0, rows=rows[:1]), stored(10.0, rows=rows[:1])).cells  # type: ignore[arg-type]
    first = compare_results(stored(10.0, rows=rows), stored(10.0, rows=rows)).cells[0]  # type: ignore[arg-type]
    assert alone.slowdown is not None
    assert first.slowdown is not None
    assert alone.slowdown.high == pytest.approx(2.04 / 1.96)
    assert math.log(first.slowdown.high) == pytest.approx(math.log(2.04 / 1.96) * 2.5758 / 1.9600, rel=1e-4)
