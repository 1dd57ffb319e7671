"""A fleet's run becomes measurements, one a job, as it stands."""

import shutil
from pathlib import Path

import pytest

from bench.fleet.record import read_fleet, write_fleet
from bench.report.fleet_run import devices_without_work, notices_of, read_measurements
from bench.report.gaps import IN_THE_MATRIX, gaps_of
from bench.report.measurement import Measurement
from bench.report.recommend import recommend
from bench.report.rows import name_of
from export.pipeline.manifest import read_manifest
from tests.support.fleet_measured import FAILED, with_idle_devices, write_run
from tests.support.planted_evaluation import evaluation
from tests.support.planted_manifest import ERROR_MM
from tests.support.report_folder import accuracy


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two devices, two models, one of four jobs failed, two devices without work; tests must leave it as it is."""
    folder = tmp_path_factory.mktemp("devices") / "build/fleet/spring"
    write_run(folder)
    with_idle_devices(folder)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "build/fleet/spring"))


def measured(run: Path) -> list[Measurement]:
    return read_measurements(run, read_fleet(run))


def test_each_job_is_a_measurement_and_one_that_failed_says_why(made: Path) -> None:
    found = {of.label: of for of in measured(made)}
    assert list(found) == ["S on orin", "S on box", "L on orin", "L on box"]
    assert found["L on box"].missing == f"failed: {FAILED}"
    assert found["S on orin"].facts["processor"] == "Cortex-A78AE"
    assert found["S on orin"].facts["GPU driver"] == "540.4.0"
    reasons = {one.reason for one in found["S on box"].not_run if one.runtime == "pytorch-compile"}
    assert reasons == {f"left out; {IN_THE_MATRIX}"}  # a fleet is not told to use switches that it lacks


def test_devices_without_work_are_named_as_not_tested(made: Path) -> None:
    record = read_fleet(made)
    idle = dict(devices_without_work(record))
    assert "another version" in idle["orin-old"].reason
    assert "not connected" in idle["orin-hot"].reason
    gaps = gaps_of([recommend(of) for of in measured(made)], devices_without_work(record))
    assert ("L on box", f"failed: {FAILED}") in [(where, of.reason) for where, of in gaps]
    assert len(gaps) == len(set(gaps))


def test_command_of_a_job_names_the_scheduler_of_its_run(made: Path) -> None:
    record = read_fleet(made)
    through_dask = record.model_copy(update={"scheduler": "tls://box:8786"})
    commands = [{of.command for of in read_measurements(made, one)} for one in (record, through_dask)]
    run = "convnextpose fleet run MATRIX.yaml"
    assert commands == [{run}, {f"{run} --scheduler tls://box:8786"}]


def test_a_run_that_goes_on_is_shown_as_it_stands(run: Path) -> None:
    record = read_fleet(run)
    running = record.jobs[0].model_copy(update={"state": "running", "outcome": None})
    waiting = record.jobs[2].model_copy(update={"state": "waiting", "outcome": None, "worker": ""})
    jobs = [running, record.jobs[1], waiting, record.jobs[3]]
    record = record.model_copy(update={"jobs": jobs, "complete": False})
    write_fleet(run, record)
    assert any("2 of 4 jobs" in notice for notice in notices_of(record))
    found = {of.label: of for of in measured(run)}
    assert found["S on orin"].missing
    assert found["L on orin"].missing
    assert found["S on box"].rows


def test_an_evaluation_at_home_holds_for_the_same_file_on_a_device(run: Path) -> None:
    manifest = read_manifest(run / "orin/S/manifest.json")
    place = run.parent / "exports/S/accuracy"
    place.mkdir(parents=True)
    evaluated = accuracy(manifest)
    (place / "drawn.json").write_text(evaluation([], "b" * 64).model_dump_json())
    assert not any(of.accuracy_of(row) for of in measured(run) for row in of.rows)
    (place / "drawn.json").write_text(evaluated.model_dump_json())
    of = measured(run)[0]
    found, *_ = of.accuracy_of(next(row for row in of.rows if name_of(row) == "tensorrt fp16"))
    assert found.mpjpe_mm == pytest.approx(52 + ERROR_MM["fp16"] / 4)
