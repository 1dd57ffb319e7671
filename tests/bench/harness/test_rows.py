"""What may be said of a row: all that its samples allow, and nothing that they do not."""

from collections.abc import Sequence

import numpy as np
import pytest

from bench.harness.assemble import sample_arrays
from bench.harness.candidates import Candidate
from bench.harness.job import HOST_E2E, WarmUp
from bench.harness.run import Session
from tests.cli.test_bench_table import ENERGY
from tests.support.bench_results import CONTROL, QUIET, STILL, A, B, row, session


def test_a_stable_row_has_all_figures_that_its_samples_allow() -> None:
    seen = row(session(STILL))
    latency = seen.latency[HOST_E2E]
    assert seen.verdict == "stable"
    assert seen.speed_up is not None
    assert seen.speed_up.median == pytest.approx(2)
    assert not seen.speed_up.same
    assert (latency.p50_ms, latency.samples, latency.rounds) == (10, 150, 30)
    assert {p.quantile: p.value_ms for p in latency.percentiles} == {
        0.5: 10,
        0.9: 10,
        0.95: 10,
        0.99: None,
        0.999: None,
    }
    assert (latency.deadlines[0].missed, row(session(STILL), A).latency[HOST_E2E].deadlines[0].missed) == (0, 150)


def test_the_reference_has_no_speed_up_and_its_controls_verdict() -> None:
    seen = row(session(STILL), A)
    assert (seen.is_reference, seen.speed_up, seen.verdict) == (True, None, "stable")
    biased = row(session(STILL | {CONTROL: [18.0] * 30}), A)
    assert biased.verdict == "unstable"


def test_what_two_instances_of_the_reference_differ_by_hides_what_is_not_twice_as_large() -> None:
    lucky = STILL | {CONTROL: [19.4] * 30}
    near, far = row(session(lucky | {B.id: [19.0] * 30})), row(session(lucky))
    assert (near.verdict, far.verdict) == ("noisy", "noisy")
    assert "no difference below 6% is told" in near.reasons[0]
    assert near.speed_up is not None
    assert far.speed_up is not None
    assert (near.speed_up.same, far.speed_up.same) == (True, False)


def with_control(latencies_ms: Sequence[float], **entry: object) -> Session:
    """A session with a defect in the reference's second instance."""
    of = session(STILL | {CONTROL: latencies_ms})
    for name, value in entry.items():
        setattr(of.entries[CONTROL], name, value)
    return of


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (with_control([20.0] * 6, faults=["round 7: the worker was lost"]), "round 7: the worker was lost"),
        (with_control([], faults=["killed by SIGKILL"]), "killed by SIGKILL"),
        (with_control([20.0] * 30, warm_up=WarmUp("not_steady", 30, 10)), "did not end in a steady state"),
        (with_control(list(np.linspace(18.8, 21.2, 30))), "drifted by"),
        (with_control([18.6, 21.4] * 15), "are equal is known to"),
    ],
)
@pytest.mark.parametrize("candidate", [A, B])
def test_without_a_control_that_is_to_be_believed_nothing_is_told(
    of: Session, reason: str, candidate: Candidate
) -> None:
    seen = row(of, candidate)
    assert seen.verdict == "unstable"
    assert any(reason in said for said in seen.reasons)
    assert seen.speed_up is None


def test_late_calls_are_counted_where_there_are_rounds_enough() -> None:
    few = row(session({name: of[:10] for name, of in STILL.items()}))
    assert (few.verdict, few.latency[HOST_E2E].deadlines) == ("stable", [])


def test_an_unstable_row_has_no_speed_up_and_no_tail() -> None:
    wild = 10 * np.random.default_rng(0).lognormal(0, 0.3, 30)
    seen = row(session(STILL | {B.id: list(wild)}))
    assert seen.verdict == "unstable"
    assert seen.speed_up is None
    tails = [p.value_ms for p in seen.latency[HOST_E2E].percentiles if p.quantile > 0.5]
    assert tails == [None] * 4


@pytest.mark.parametrize("fault", ["parity fail: 7 mm", "round 3: the worker was lost"])
def test_an_invalid_row_has_no_timing_at_all(fault: str) -> None:
    of = session(STILL, faults=[fault])
    seen = row(of)
    assert (seen.verdict, seen.reasons) == ("invalid", [fault])
    assert (seen.latency, seen.speed_up, seen.warm_up, seen.cold_start) == ({}, None, None, None)
    assert not any(key.startswith(B.id) for key in sample_arrays(of.measured, [seen]))


def test_what_was_never_measured_is_invalid_and_not_an_error() -> None:
    assert row(session(STILL | {B.id: []})).reasons == ["not measured"]


def test_without_six_rounds_there_is_no_speed_up() -> None:
    seen = row(session({name: of[:5] for name, of in STILL.items()}))
    assert (seen.verdict, seen.speed_up) == ("unstable", None)


def test_a_restless_warm_up_and_stolen_time_are_said() -> None:
    restless = row(session(STILL, warm_up=WarmUp("not_steady", 30, 10)))
    assert "warming up" in restless.reasons[0]
    of = session(STILL)
    of.measured.sensors = [QUIET, QUIET | {"total_ticks": 1000, "steal_ticks": 20}]
    assert "stolen" in row(of).reasons[0]


def test_samples_keep_their_round() -> None:
    of = session(STILL)
    arrays = sample_arrays(of.measured, [row(of)])
    assert len(arrays[f"{B.id}|host_e2e|samples_ms"]) == 150
    assert list(arrays[f"{B.id}|host_e2e|round"][:6]) == [0, 0, 0, 0, 0, 1]


def test_what_is_invalid_has_no_energy_either() -> None:
    seen = row(session(STILL, energy=ENERGY, faults=["crashed"]))
    assert (seen.energy, seen.energy_reason) == (None, "not measured: the row is invalid")
