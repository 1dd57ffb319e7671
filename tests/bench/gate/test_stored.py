"""Comparison of two stored results."""

import math
from typing import Any

import pytest

from bench.gate.decision import slowdown_between_runs
from bench.gate.stored import compare_results
from bench.results.result import Result, Row
from bench.stats.statistics import Ratio
from export.common.errors import BadInput
from tests.bench.gate.planted import executed
from tests.support.bench_results import CANDIDATE, STEADY, measurements, result, row


def stored(candidate_ms: float = 10.0, **changes: object) -> Result:
    host = {"cpu": "x", "usable_cores": 2, "machine": "x86_64", "governor": None}
    software = {"python": "3.11", "libraries": {"torch": "2.13.0"}}
    environment = {"host": host, "gpus": [], "software": software}
    measured = measurements({**STEADY, CANDIDATE.id: [candidate_ms] * 30})
    return result(measured, **{"environment": environment, **changes})


def short_row(rounds: int) -> dict[str, Any]:
    return {"rows": [row(measurements({name: values[:rounds] for name, values in STEADY.items()}))]}


def invalid_row() -> dict[str, Any]:
    return {"rows": [row(measurements(STEADY, faults=["parity fail: 7 mm"]))]}


@pytest.mark.parametrize(
    ("candidate", "outcome"),
    [
        (stored(10.1), "PASS"),
        (stored(10.7), "FAIL"),
        (stored(9.0), "IMPROVED"),
        (stored(**invalid_row()), "FAIL"),
        (stored(**short_row(5)), "INCONCLUSIVE"),
        (stored(rows=[]), "INCONCLUSIVE"),
    ],
    ids=["equal", "slower", "faster", "invalid", "unstable", "missing"],
)
def test_each_row_is_compared_by_its_own_reference(candidate: Result, outcome: str) -> None:
    (cell,) = compare_results(stored(), candidate).cells
    assert cell.outcome == outcome


def test_an_invalid_candidate_has_its_faults_as_reasons() -> None:
    (cell,) = compare_results(stored(), stored(**invalid_row())).cells
    assert cell.reasons == ("parity fail: 7 mm",)


@pytest.mark.parametrize("verdict", ["unstable", "invalid"])
def test_an_unstable_or_invalid_baseline_decides_nothing(verdict: str) -> None:
    doubtful = row(measurements(STEADY)).model_copy(
        update={"verdict": verdict, "reasons": ["drifted"], "speed_up": None}
    )
    (cell,) = compare_results(stored(rows=[doubtful]), stored()).cells
    assert cell.outcome == "INCONCLUSIVE"
    assert f"the baseline is {verdict}: drifted" in cell.reasons[0]


def test_executed_nodes_are_compared_and_tails_are_not() -> None:
    def with_nodes(nodes: int) -> Result:
        return stored(rows=[row(measurements(STEADY)).model_copy(update={"facts": {"executed": executed(nodes)}})])

    (same,) = compare_results(with_nodes(116), with_nodes(116)).cells
    assert (same.outcome, same.notes) == ("PASS", ("p99 not judged: rounds of two runs are not paired",))
    (more,) = compare_results(with_nodes(116), with_nodes(117)).cells
    assert more.outcome == "FAIL"


def test_widths_of_two_runs_add_up() -> None:
    slowdown = slowdown_between_runs(Ratio(2, 1.9, 2.1, 20), Ratio(2, 1.9, 2.1, 20))
    assert math.log(slowdown.high / slowdown.low) == pytest.approx(2 * math.log(2.1 / 1.9))


def changed_environment(**parts: Any) -> dict[str, object]:
    environment = stored().environment
    return {"environment": environment | {name: environment[name] | values for name, values in parts.items()}}


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        (changed_environment(software={"python": "3.12"}) | {"fingerprint": "sha256:1"}, "python: 3.11 and 3.12"),
        (changed_environment(host={"cpu": "y"}), "cpu: x and y"),
        ({"fingerprint": "sha256:1"}, "the fingerprints differ"),
        ({"reference_id": "pytorch-cuda/fp32/b1/t2"}, "reference_id: pytorch/fp32/b1/t2 and pytorch-cuda/fp32/b1/t2"),
        ({"weights": "checkpoint"}, "weights: demo and checkpoint"),
        ({"mode": "publish"}, "mode: quick and publish"),
        ({"protocol": {"threads": 1}}, "threads: 2 and 1"),
        ({"protocol": {"threads": 2, "cuda_graph": False}}, "cuda_graph: None and False"),
    ],
)
def test_another_machine_software_or_protocol_is_refused(changes: dict[str, Any], difference: str) -> None:
    comparison = compare_results(stored(), stored(**changes))
    assert (comparison.outcome, comparison.reasons) == ("REFUSED", (difference,))


def test_another_model_is_refused() -> None:
    with pytest.raises(BadInput, match="different models"):
        compare_results(stored(), stored(model="L"))


def control(half_width: float) -> dict[str, object]:
    return {"median": 1.0, "low": math.exp(-half_width), "high": math.exp(half_width), "rounds": 30}


@pytest.mark.parametrize("side", ["baseline", "candidate"])
@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"complete": False}, "the run was interrupted"),
        ({"control": None}, "its reference was not measured twice"),
        ({"control": control(0.07)}, "two instances of the reference are known to be equal to ±7.0% only"),
        (short_row(19), "19 rounds, fewer than 20"),
    ],
)
def test_an_insufficient_result_decides_nothing(side: str, changes: dict[str, Any], doubt: str) -> None:
    sides = [stored(**(changes if name == side else {})) for name in ("baseline", "candidate")]
    comparison = compare_results(sides[0], sides[1])
    assert comparison.outcome == "INCONCLUSIVE"
    assert doubt in "; ".join(comparison.cells[0].reasons)
    assert side in "; ".join(comparison.cells[0].reasons)


@pytest.mark.parametrize(("changes", "allowed"), [({}, 0.06), ({"control": control(0.07)}, 0.07)])
def test_the_wider_control_is_the_least_allowance(changes: dict[str, Any], allowed: float) -> None:
    (cell,) = compare_results(stored(), stored(**changes)).cells
    assert cell.allowed == pytest.approx(allowed)


def test_cells_share_the_confidence() -> None:
    speed_up = {"median": 2.0, "low": 1.96, "high": 2.04, "rounds": 30, "same": False}
    first = Row.model_validate(row(measurements(STEADY)).model_dump() | {"speed_up": speed_up})
    rows = [first, *(first.model_copy(update={"id": f"other {n}"}) for n in range(4))]
    (single,) = compare_results(stored(rows=rows[:1]), stored(rows=rows[:1])).cells
    one_of_five = compare_results(stored(rows=rows), stored(rows=rows)).cells[0]
    assert single.slowdown is not None
    assert one_of_five.slowdown is not None
    assert single.slowdown.high == pytest.approx(2.04 / 1.96)
    assert math.log(one_of_five.slowdown.high) == pytest.approx(math.log(2.04 / 1.96) * 2.5758 / 1.9600, rel=1e-4)
