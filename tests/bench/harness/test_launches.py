"""Several launches: rounds are divided among fresh workers, and what each said alone is kept."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.harness.assemble import row_of, sample_arrays
from bench.harness.entries import Entrant, Settings
from bench.harness.job import HOST_E2E, Job
from bench.harness.rounds import Measured, Plan, Visit, run_rounds
from bench.harness.run import Session, hold_session
from bench.stats.stopping import StopRule, after_launches
from tests.support.bench_quick import QUICK, children, judged
from tests.support.bench_results import CONTROL, STILL, A, B, session
from tests.support.bench_subjects import Broken, FakeClock, Scripted, Sleeper, write_inputs

THREE = replace(QUICK, launches=3, rule=StopRule(half_width=10.0, quantile=0.5, first_look=6))


# ── how rounds are divided ───────────────────────────────────────────────────────────────────────────────────────────


def scripted(latencies_ms: Mapping[str, Any], launches: int = 3, **rule: Any) -> list[Measured]:
    """What there was after each launch; A is the reference."""
    clock, measured, seen = FakeClock(), None, []
    for launch in range(launches):
        contenders = {name: Scripted(clock, of) for name, of in latencies_ms.items()}
        plan = Plan("A", StopRule(**{"budget_s": 1e9, **rule}), launch=launch, launches=launches, max_rounds=300)
        clock.now += 1000  # loading is nobody's budget
        measured = run_rounds(contenders, dict.fromkeys(latencies_ms, 10.0), plan, clock=clock, before=measured)
        seen.append(replace(measured))
    return seen


def rounds_of(measured: Measured, name: str = "B") -> list[int]:
    launches = [visit.launch for visit in measured.visits[name]]
    return [launches.count(launch) for launch in range(3)]


def test_a_quiet_machine_takes_a_third_of_the_rounds_in_each_launch() -> None:
    *_, last = scripted({"A": [10.0], "B": [5.0]})
    assert rounds_of(last) == [7, 7, 16]  # looks in all: 7, 14, and then 20 (too few in this launch) and 30
    assert [visit.round for visit in last.visits["B"]] == list(range(last.rounds))
    assert last.stop is not None
    assert last.stop.reached
    assert len(last.sensors) == last.rounds + 3


def test_only_the_whole_must_be_as_precise_as_was_asked_for() -> None:
    own = np.random.default_rng(1).lognormal(0, 0.03, 300)
    first, second, last = scripted({"A": [10.0], "B": 5 * own})
    widths = [seen.ratio("A", "B").half_width for seen in (first, second, last)]  # type: ignore[union-attr]
    assert widths[0] <= 0.01 * np.sqrt(3)
    assert widths[1] <= 0.01 * np.sqrt(3 / 2)
    assert widths[2] <= 0.01
    assert min(rounds_of(last)) >= 7


def test_each_launch_may_spend_its_part_of_the_time_and_what_the_others_left() -> None:
    wild = np.random.default_rng(2).lognormal(0, 0.3, 300)
    seen = scripted({"A": [10.0], "B": 10 * wild}, budget_s=60)
    for launch, measured in enumerate(seen):
        assert 20 * (launch + 1) <= measured.elapsed_s < 20 * (launch + 1) + 1
    assert seen[-1].stop is not None
    assert (seen[-1].stop.reached, seen[-1].stop.reason) == (False, "60 s were spent")


def test_samples_for_the_percentile_are_wanted_of_all_launches_together() -> None:
    *_, last = scripted({"A": [100.0], "B": [100.0]}, quantile=0.99)
    assert 662 <= len(last.samples_ms("B")) < 3 * 662


def test_a_part_of_a_rule() -> None:
    rule = StopRule(half_width=0.01, budget_s=600)
    third = after_launches(rule, 1, 3)
    assert third.half_width == pytest.approx(0.01 * 3**0.5)
    assert (third.budget_s, third.first_look) == (200, 7)
    assert after_launches(rule, 3, 3) == rule


# ── real workers ─────────────────────────────────────────────────────────────────────────────────────────────────────


def hold(folder: Path, settings: Settings = THREE, progress: Any = None, **backends: Any) -> Session:
    inputs = write_inputs(folder)
    entrants = [Entrant(name, Job(made, inputs), "fp32") for name, made in backends.items()]
    told = progress or (lambda text, share=None: None)
    return hold_session(entrants, "A", np.load(inputs), judged, settings, progress=told)


class Noted(Sleeper):
    """Notes in which process it was opened."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        (folder / str(os.getpid())).touch()


def test_every_launch_has_workers_of_its_own_which_are_judged_again(tmp_path: Path) -> None:
    asked: list[str] = []

    def judge(name: str, joints: Any) -> Mapping[str, Any]:
        asked.append(name)
        return judged(name, joints)

    (tmp_path / "pids").mkdir()
    inputs = write_inputs(tmp_path)
    entrants = [
        Entrant("A", Job(Sleeper, inputs), "fp32"),
        Entrant("B", Job(partial(Noted, tmp_path / "pids"), inputs), "fp32"),
    ]
    seen = hold_session(entrants, "A", np.load(inputs), judge, replace(THREE, cold_starts=4))
    assert asked == ["A", "B"] * 3
    assert len(list((tmp_path / "pids").iterdir())) == 4  # three launches, and one more cold start
    entry = seen.entries["B"]
    assert (entry.faults, len(entry.cold)) == ([], 3)
    assert {visit.launch for visit in seen.measured.visits["B"]} == {0, 1, 2}
    assert seen.complete
    assert children() == []


class BrokenLater(Broken):
    """Sound in as many processes as there may be; then it breaks."""

    def __init__(self, folder: Path, sound: int, how: str, at: int) -> None:
        super().__init__(how, at)
        (folder / str(os.getpid())).touch()
        if len(list(folder.iterdir())) <= sound:
            self.at = 1 << 30


def test_what_breaks_in_a_later_launch_is_a_row_with_its_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("load", "rounds")}
    for place in places.values():
        place.mkdir()
    seen = hold(
        tmp_path,
        A=Sleeper,
        B=Sleeper,
        load=partial(BrokenLater, places["load"], 1, "raise", 1),
        rounds=partial(BrokenLater, places["rounds"], 2, "crash", 30),
    )
    (fault,) = seen.entries["load"].faults
    assert fault == "launch 2 of 3: RuntimeError: no kernel for this"
    (fault,) = seen.entries["rounds"].faults
    assert fault.startswith("launch 3 of 3: ")  # while warming up, or in a round
    assert "SIGABRT" in fault
    assert rounds_of(seen.measured, "load")[1:] == [0, 0]
    assert min(rounds_of(seen.measured)) > 0
    assert seen.complete
    assert children() == []


def test_without_the_reference_there_is_no_further_launch(tmp_path: Path) -> None:
    place = tmp_path / "reference"
    place.mkdir()
    seen = hold(tmp_path, A=partial(BrokenLater, place, 1, "raise", 1), B=Sleeper)
    assert seen.entries["A"].faults == ["launch 2 of 3: RuntimeError: no kernel for this"]
    assert rounds_of(seen.measured)[1:] == [0, 0]
    assert len(seen.measured.visits["B"]) > 0


@pytest.mark.parametrize("when", ["launch 2 of 3: loading B", "launch 2 of 3: round"])
def test_ctrl_c_in_the_second_launch_keeps_the_first(tmp_path: Path, when: str) -> None:
    def progress(text: str, share: float | None = None) -> None:
        if text.startswith(when):
            raise KeyboardInterrupt

    seen = hold(tmp_path, progress=progress, A=Sleeper, B=Sleeper)
    assert not seen.complete
    assert rounds_of(seen.measured)[0] > 0
    assert rounds_of(seen.measured)[1:] == [0, 0]
    assert seen.measured.stop is None  # what ended the first launch is not why measuring ended
    assert seen.entries["B"].faults == []
    assert children() == []


# ── what is said of launches ─────────────────────────────────────────────────────────────────────────────────────────


def in_three(latencies_ms: Mapping[str, Any]) -> Session:
    """Ten rounds in each launch."""
    of = session(latencies_ms)
    for name, visits in of.measured.visits.items():
        of.measured.visits[name] = [Visit(v.round, v.position, v.samples_ms, v.round // 10) for v in visits]
    of.launches = 3
    return of


LUCK = [10.0] * 10 + [10.1] * 10 + [9.9] * 10


def row(of: Session, candidate: Any = B) -> Any:
    return row_of(candidate, of.entries[candidate.id], of, A.id, of.measured.ratio(A.id, CONTROL), ())


def test_each_launch_has_its_median_and_its_speed_up() -> None:
    seen = row(in_three(STILL | {B.id: LUCK}))
    assert [launch.p50_ms for launch in seen.launches] == [10.0, 10.1, 9.9]
    assert [launch.speed_up for launch in seen.launches] == [pytest.approx(20 / p50) for p50 in (10.0, 10.1, 9.9)]
    assert seen.speed_up.median == pytest.approx(2)


def test_the_reference_has_no_speed_up_in_any_launch_and_an_invalid_row_no_launch() -> None:
    assert [launch.speed_up for launch in row(in_three(STILL), A).launches] == [None] * 3
    wild = list(10 * np.random.default_rng(0).lognormal(0, 0.3, 30))
    assert [launch.speed_up for launch in row(in_three(STILL | {B.id: wild})).launches] == [None] * 3
    of = in_three(STILL)
    of.entries[B.id].faults.append("launch 2 of 3: crashed")
    assert row(of).launches is None
    assert row(session(STILL)).launches is None  # one launch is no sample of launches


def test_samples_keep_their_launch() -> None:
    of = in_three(STILL)
    arrays = sample_arrays(of.measured, [row(of)])
    launches, rounds = (arrays[f"{B.id}|{HOST_E2E}|{name}"] for name in ("launch", "round"))
    assert (np.bincount(launches) == 50).all()
    assert (launches == rounds // 10).all()
