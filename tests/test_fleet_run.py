"""A run that this machine carries out by itself: its folder, and what is found there, kept and taken up again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.fleet import device, ledger, shelf
from bench.fleet.blobs import BlobCache
from bench.fleet.executor import LocalExecutor, OnWork
from bench.fleet.ledger import Ledger
from bench.fleet.plan import planned_before
from bench.fleet.record import JOB, FleetRecord, measured, read_finished, read_fleet
from bench.fleet.run import require_done, run_fleet
from bench.fleet.spec import JobSpec
from cli import render_fleet
from export.errors import BadInput, CheckFailed
from tests.fleet_plans import nothing, plan_of, spec_of
from tests.fleet_stand_in import times_measured


def open_local(plan_specs: list[JobSpec], sources: BlobCache, again: bool = False) -> Callable[[OnWork], LocalExecutor]:
    return lambda on_work: LocalExecutor(plan_specs, sources, on_work, again=again)


def test_a_run_here_fills_its_folder_and_a_second_one_does_nothing(
    state: Path, sources: BlobCache, tmp_path: Path
) -> None:
    specs = [spec_of(model, sources, kind, kind) for model in "AB" for kind in ("orin", "x86")]
    plan = plan_of(tmp_path / "run", specs, sources)
    record = run_fleet(plan, open_local(specs, sources), nothing)
    require_done(record)
    assert record == read_fleet(plan.folder)
    assert [job.folder for job in record.jobs] == ["orin/A", "x86/A", "orin/B", "x86/B"]
    for job in record.jobs:
        assert read_finished(plan.folder / job.folder, job.spec.id) == job.outcome
        assert {"manifest.json", JOB} <= {path.name for path in (plan.folder / job.folder).iterdir()}
    assert times_measured(state) == 4
    again = run_fleet(plan, open_local(specs, sources), nothing)
    assert (times_measured(state), [job.outcome for job in again.jobs]) == (4, [job.outcome for job in record.jobs])
    run_fleet(plan, open_local(specs, sources, again=True), nothing, again=True)
    assert times_measured(state) == 8


def test_what_is_measured_again_takes_no_earlier_result_away(state: Path, sources: BlobCache, tmp_path: Path) -> None:
    specs = [spec_of("A", sources)]
    plan, results = plan_of(tmp_path / "run", specs, sources), list[str]()
    for again in (False, True, True):
        record = run_fleet(plan, open_local(specs, sources, again=again), nothing, again=again)
        results.append((plan.folder / "orin/A/bench/result.json").read_text())
    assert len(set(results)) == times_measured(state) == 3
    kept = [f"earlier/{specs[0].id[:16]}-{number}/orin/A" for number in (1, 2)]
    assert [job.folder for job in record.earlier] == kept
    assert [(plan.folder / place / "bench/result.json").read_text() for place in kept] == results[:2]
    for job in (*record.jobs, *record.earlier):
        assert read_finished(plan.folder / job.folder, specs[0].id) == job.outcome
    assert measured(plan.folder, record)["orin/A"].created in results[2]  # the newest is shown

    once_more = run_fleet(plan, open_local(specs, sources), nothing)
    assert (once_more.jobs[0].outcome, once_more.earlier) == (record.jobs[0].outcome, record.earlier)
    other = [spec_of("A", sources, precisions=("fp16",))]
    edited = run_fleet(plan_of(plan.folder, other, sources), open_local(other, sources), nothing)
    assert {job.folder for job in edited.earlier} == {*kept, f"earlier/{specs[0].id[:16]}/orin/A"}
    back = run_fleet(plan, open_local(specs, sources), nothing)
    assert back.jobs[0].outcome == record.jobs[0].outcome
    assert {job.folder for job in back.earlier} == {*kept, f"earlier/{other[0].id[:16]}/orin/A"}
    assert times_measured(state) == 4


def test_a_client_that_ends_between_two_results_of_a_job_has_the_earlier_one(
    state: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [spec_of("A", sources)]
    plan = plan_of(tmp_path / "run", specs, sources)
    before = run_fleet(plan, open_local(specs, sources), nothing).jobs[0].outcome

    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_write", ended)
        with pytest.raises(KeyboardInterrupt):
            run_fleet(plan, open_local(specs, sources, again=True), nothing, again=True)
    assert [job.outcome for job in read_fleet(plan.folder).earlier] == [before]
    record = run_fleet(plan, open_local(specs, sources), nothing)
    assert record.jobs[0].outcome is not None
    assert record.jobs[0].outcome.found  # the device has the newer one
    assert [job.outcome for job in record.earlier] == [before]
    assert record.jobs[0].outcome.files != record.earlier[0].outcome.files  # type: ignore[union-attr]


def test_a_client_that_ends_when_it_has_only_moved_a_result_finds_it_again(
    state: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [spec_of("A", sources)]
    plan = plan_of(tmp_path / "run", specs, sources)
    before = run_fleet(plan, open_local(specs, sources), nothing).jobs[0].outcome
    moved = shelf.make_room

    def ended(*given: Any) -> None:
        moved(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "make_room", ended)
        with pytest.raises(KeyboardInterrupt):
            run_fleet(plan, open_local(specs, sources, again=True), nothing, again=True)
    assert read_fleet(plan.folder).earlier == []
    assert [job.outcome for job in run_fleet(plan, open_local(specs, sources), nothing).earlier] == [before]


def test_damage_neither_blocks_a_run_nor_goes_and_results_come_back(
    state: Path, sources: BlobCache, tmp_path: Path
) -> None:
    """Two matrices in turns, and a damaged result between them."""
    one, other = ([spec_of("A", sources, precisions=(of,))] for of in ("fp32", "fp16"))
    folder = tmp_path / "run"

    def run(specs: list[JobSpec]) -> tuple[FleetRecord, str]:
        record = run_fleet(plan_of(folder, specs, sources), open_local(specs, sources), nothing)
        return record, (folder / "orin/A/bench/result.json").read_text()

    _, first = run(one)
    run(other)
    (folder / "orin/A/bench/result.json").write_text("edited")
    for _ in range(2):
        record, again = run(one)
        assert again == first
        assert record.jobs[0].outcome is not None
        assert not record.jobs[0].outcome.found  # it was not even asked for
        record, _ = run(other)
        assert [job.folder for job in record.earlier] == [f"earlier/{one[0].id[:16]}/orin/A"]
    assert (folder / "earlier/damaged/orin/A/bench/result.json").read_text() == "edited"
    assert times_measured(state) == 2


def test_a_damaged_result_is_brought_again_and_not_measured(state: Path, sources: BlobCache, tmp_path: Path) -> None:
    specs = [spec_of(model, sources) for model in "AB"]
    plan = plan_of(tmp_path / "run", specs, sources)
    before = run_fleet(plan, open_local(specs, sources), nothing)
    (tmp_path / "run/orin/A/bench/result.json").write_text("edited")
    after = run_fleet(plan, open_local(specs, sources), nothing)
    assert [job.outcome and job.outcome.found for job in after.jobs] == [True, False]
    assert [j.outcome and j.outcome.files for j in after.jobs] == [j.outcome and j.outcome.files for j in before.jobs]
    assert times_measured(state) == 2


def test_what_was_taken_with_other_libraries_is_measured_again(
    state: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [spec_of("A", sources)]
    plan = plan_of(tmp_path / "run", specs, sources)
    run_fleet(plan, open_local(specs, sources), nothing)
    monkeypatch.setattr(device, "fingerprint", lambda record: "another driver")
    run_fleet(plan, open_local(specs, sources), nothing)
    assert times_measured(state) == 2


def test_one_failure_leaves_the_rest_and_is_told_at_the_end(state: Path, sources: BlobCache, tmp_path: Path) -> None:
    specs = [spec_of("A", sources, code="other"), spec_of("B", sources)]
    record = run_fleet(plan_of(tmp_path / "run", specs, sources), open_local(specs, sources), nothing)
    assert [job.state for job in record.jobs] == ["failed", "done"]
    with pytest.raises(CheckFailed, match="1 of 2 jobs failed"):
        require_done(record)


def test_a_run_is_either_local_or_a_schedulers_and_one_at_a_time(
    state: Path, sources: BlobCache, tmp_path: Path
) -> None:
    specs = [spec_of("A", sources)]
    plan = plan_of(tmp_path / "run", specs, sources)
    run_fleet(plan, open_local(specs, sources), nothing)
    with pytest.raises(BadInput, match="either local or a scheduler's"):
        run_fleet(plan, open_local(specs, sources), nothing, scheduler="tcp://127.0.0.1:1")

    def open_second(on_work: OnWork) -> LocalExecutor:
        with pytest.raises(BadInput, match="is in use"):
            run_fleet(plan, open_local(specs, sources), nothing)
        return LocalExecutor(specs, sources, on_work)

    run_fleet(plan, open_second, nothing)


def test_what_an_earlier_matrix_has_measured_is_kept_apart_and_comes_back_with_it(
    state: Path, sources: BlobCache, tmp_path: Path
) -> None:
    old = [spec_of(model, sources) for model in "AB"]
    new = [spec_of("A", sources, precisions=("fp16",))]
    run_fleet(plan_of(tmp_path / "run", old, sources), open_local(old, sources), nothing)
    before = {path.name: (path / "bench/result.json").read_text() for path in (tmp_path / "run/orin").iterdir()}

    record = run_fleet(plan_of(tmp_path / "run", new, sources), open_local(new, sources), nothing)
    assert [(job.spec.id, job.state) for job in record.jobs] == [(new[0].id, "done")]
    kept = {job.spec.model: job.folder for job in record.earlier}
    assert kept == {"A": f"earlier/{old[0].id[:16]}/orin/A", "B": "orin/B"}
    assert {
        name: (tmp_path / "run" / place / "bench/result.json").read_text() for name, place in kept.items()
    } == before
    assert read_fleet(tmp_path / "run") == record

    again = run_fleet(plan_of(tmp_path / "run", old, sources), open_local(old, sources), nothing)
    assert [job.folder for job in again.jobs] == ["orin/A", "orin/B"]
    assert {
        job.spec.model: (tmp_path / "run" / job.folder / "bench/result.json").read_text() for job in again.jobs
    } == before
    assert [job.folder for job in again.earlier] == [f"earlier/{new[0].id[:16]}/orin/A"]
    assert times_measured(state) == 3  # nothing was measured twice, not even looked for on the device
    assert not any(job.outcome and job.outcome.found for job in again.jobs)


def test_status_names_what_is_kept_and_does_not_count_it(
    state: Path, sources: BlobCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in "AB":
        specs = [spec_of(model, sources)]
        record = run_fleet(plan_of(tmp_path / "run", specs, sources), open_local(specs, sources), nothing)
    render_fleet.status(record, going_on=False)
    said = capsys.readouterr().out
    assert "run: 1 jobs, 1 done" in said
    assert "orin/A in orin/A" in said


def test_a_run_is_resumed_without_its_matrix(state: Path, sources: BlobCache, tmp_path: Path) -> None:
    specs = [spec_of(model, sources) for model in "AB"]
    plan = plan_of(tmp_path / "run", specs, sources)
    before = run_fleet(plan, open_local(specs, sources), nothing)
    resumed = planned_before(plan.folder, read_fleet(plan.folder))
    assert (resumed.run, resumed.specs, resumed.matrix) == (plan.run, plan.specs, plan.matrix)
    (tmp_path / "run/orin/A/job.json").unlink()
    after = run_fleet(resumed, open_local(list(resumed.specs), resumed.sources), nothing)
    assert [job.state for job in after.jobs] == ["done", "done"]
    assert (times_measured(state), after.created) == (2, before.created)
    with pytest.raises(BadInput, match="another version of this project"):
        planned_before(plan.folder, before.model_copy(update={"code": "other"}))
    sources.path(specs[0].files["model.onnx"]).unlink()
    with pytest.raises(BadInput, match="no longer there"):
        planned_before(plan.folder, before)
