"""Rows of a result: they have all figures that their samples allow, and no others."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from bench.harness.assemble import sample_arrays
from bench.harness.candidates import Candidate
from bench.harness.measurements import Measurements
from bench.harness.rounds import Block
from bench.harness.workload import HOST_E2E
from bench.stats.steadiness import WarmUp
from tests.support.bench_results import CANDIDATE, CONTROL, QUIET, REFERENCE, STEADY, measurements, row

UNSTEADY = WarmUp(state="not_steady", seconds=30, windows_ms=[10])
WILD = list(10 * np.random.default_rng(0).lognormal(0, 0.3, 30))

ENERGY = {"source": "RAPL, 1 package", "gross_j": 2.0, "net_j": 1.5, "inferences": 300, "seconds": 30.0}
ENERGY |= {"power_w": 20.0, "idle_w": 5.0, "idle_seconds": 10.0, "caveat": "planted caveat"}


def test_a_stable_row_has_all_figures_that_its_samples_allow() -> None:
    stable = row(measurements(STEADY))
    latency = stable.latency[HOST_E2E]
    assert stable.verdict == "stable"
    assert stable.speed_up is not None
    assert stable.speed_up.median == pytest.approx(2)
    assert not stable.speed_up.same
    assert (latency.p50_ms, latency.samples, latency.rounds) == (10, 150, 30)
    percentiles = {p.quantile: p.value_ms for p in latency.percentiles}
    assert percentiles == {0.5: 10, 0.9: 10, 0.95: 10, 0.99: None, 0.999: None}
    assert latency.deadlines[0].missed == 0
    assert row(measurements(STEADY), REFERENCE).latency[HOST_E2E].deadlines[0].missed == 150


def test_the_reference_has_no_speed_up_and_the_quality_of_its_control() -> None:
    stable = row(measurements(STEADY), REFERENCE)
    assert (stable.is_reference, stable.speed_up, stable.verdict) == (True, None, "stable")
    assert row(measurements(STEADY | {CONTROL: [18.0] * 30}), REFERENCE).verdict == "unstable"


def test_a_biased_control_hides_differences_below_twice_its_own() -> None:
    biased = STEADY | {CONTROL: [19.4] * 30}
    near, far = row(measurements(biased | {CANDIDATE.id: [19.0] * 30})), row(measurements(biased))
    assert (near.verdict, far.verdict) == ("noisy", "noisy")
    assert "6%" in near.reasons[0]
    assert near.speed_up is not None
    assert far.speed_up is not None
    assert (near.speed_up.same, far.speed_up.same) == (True, False)


def with_control(latencies_ms: Sequence[float], **record: object) -> Measurements:
    """Return measurements with a defect in the control."""
    measured = measurements(STEADY | {CONTROL: latencies_ms})
    for name, value in record.items():
        setattr(measured.records[CONTROL], name, value)
    return measured


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        (with_control([20.0] * 6, faults=["round 7: the worker was lost"]), "round 7: the worker was lost"),
        (with_control([], faults=["killed by SIGKILL"]), "killed by SIGKILL"),
        (
            with_control([20.0] * 30, warm_up=UNSTEADY),
            "did not end in a steady state",
        ),
        (with_control(list(np.linspace(18.8, 21.2, 30))), "shifted by"),
        (with_control([18.6, 21.4] * 15), "two instances of the reference is known to"),
    ],
)
@pytest.mark.parametrize("candidate", [REFERENCE, CANDIDATE])
def test_without_a_sound_control_every_row_is_unstable(
    measured: Measurements, reason: str, candidate: Candidate
) -> None:
    unstable = row(measured, candidate)
    assert unstable.verdict == "unstable"
    assert any(reason in text for text in unstable.reasons)
    assert unstable.speed_up is None


def test_deadlines_need_enough_rounds() -> None:
    few = row(measurements({name: rounds[:10] for name, rounds in STEADY.items()}))
    assert (few.verdict, few.latency[HOST_E2E].deadlines) == ("stable", [])


def test_an_unstable_row_has_no_speed_up_and_no_tail() -> None:
    unstable = row(measurements(STEADY | {CANDIDATE.id: WILD}))
    assert unstable.verdict == "unstable"
    assert unstable.speed_up is None
    tails = [p.value_ms for p in unstable.latency[HOST_E2E].percentiles if p.quantile > 0.5]
    assert tails == [None] * 4


@pytest.mark.parametrize("fault", ["parity fail: 7 mm", "round 3: the worker was lost"])
def test_an_invalid_row_has_no_timing_at_all(fault: str) -> None:
    measured = measurements(STEADY, faults=[fault], energy=ENERGY)
    invalid = row(measured)
    assert (invalid.verdict, invalid.reasons) == ("invalid", [fault])
    assert (invalid.latency, invalid.speed_up, invalid.warm_up, invalid.cold_start) == ({}, None, None, None)
    assert (invalid.energy, invalid.energy_reason) == (None, "not measured: the row is invalid")
    assert not any(key.startswith(CANDIDATE.id) for key in sample_arrays(measured.rounds, [invalid]))


def test_a_row_without_a_round_is_invalid() -> None:
    assert row(measurements(STEADY | {CANDIDATE.id: []})).reasons == ["not measured"]


def test_fewer_than_six_rounds_have_no_speed_up() -> None:
    few = row(measurements({name: rounds[:5] for name, rounds in STEADY.items()}))
    assert (few.verdict, few.speed_up) == ("unstable", None)


def test_an_unsteady_warm_up_and_stolen_time_are_reasons() -> None:
    assert "warming up" in row(measurements(STEADY, warm_up=UNSTEADY)).reasons[0]
    measured = measurements(STEADY)
    measured.rounds.sensors = [QUIET, QUIET | {"total_ticks": 1000, "steal_ticks": 20}]
    assert "stolen" in row(measured).reasons[0]


# ── launches ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def in_three_launches(latencies_ms: Mapping[str, Sequence[float]], faults: Sequence[str] = ()) -> Measurements:
    """Return measurements with ten rounds in each launch."""
    measured = measurements(latencies_ms, faults=list(faults))
    for name, blocks in measured.rounds.blocks.items():
        measured.rounds.blocks[name] = [Block(b.round, b.position, b.samples_ms, b.round // 10) for b in blocks]
    measured.launches = 3
    return measured


def test_each_launch_has_its_median_and_its_speed_up() -> None:
    medians_ms = [10.0, 10.1, 9.9]
    stable = row(in_three_launches(STEADY | {CANDIDATE.id: np.repeat(medians_ms, 10).tolist()}))
    assert stable.launches is not None
    assert [launch.p50_ms for launch in stable.launches] == medians_ms
    assert [launch.speed_up for launch in stable.launches] == [pytest.approx(20 / p50_ms) for p50_ms in medians_ms]
    assert stable.speed_up is not None
    assert stable.speed_up.median == pytest.approx(2)


@pytest.mark.parametrize(
    ("latencies_ms", "candidate"), [(STEADY, REFERENCE), (STEADY | {CANDIDATE.id: WILD}, CANDIDATE)]
)
def test_reference_and_unstable_rows_have_no_speed_up_in_any_launch(
    latencies_ms: Mapping[str, Sequence[float]], candidate: Candidate
) -> None:
    launches = row(in_three_launches(latencies_ms), candidate).launches
    assert launches is not None
    assert [launch.speed_up for launch in launches] == [None] * 3


def test_invalid_rows_and_single_launches_have_no_launches() -> None:
    assert row(in_three_launches(STEADY, faults=["launch 2 of 3: crashed"])).launches is None
    assert row(measurements(STEADY)).launches is None


def test_samples_keep_their_round_and_launch() -> None:
    measured = in_three_launches(STEADY)
    arrays = sample_arrays(measured.rounds, [row(measured)])
    key = f"{CANDIDATE.id}|{HOST_E2E}|"
    assert len(arrays[key + "samples_ms"]) == 150
    assert (arrays[key + "round"] == np.repeat(range(30), 5)).all()
    assert (arrays[key + "launch"] == np.repeat(range(3), 50)).all()
