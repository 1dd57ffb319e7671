"""Devices that are connected and do not answer, and failures that are nobody's: through real processes."""

import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.fleet import dask_client, dask_executor, pulse
from bench.fleet.address import Certificates
from bench.fleet.blobs import BlobCache
from bench.fleet.dask_executor import DaskExecutor
from bench.fleet.record import FleetRecord
from bench.fleet.survey import connected
from cli.fleet import app
from export.errors import NotPossible
from tests.fleet_cluster import Cluster, until
from tests.fleet_plans import ORIN, plan_of, spec_of
from tests.fleet_runs import carry_out, states, times_measured, when_measuring

pytest.importorskip("distributed")


def device_states(record: FleetRecord) -> dict[str, tuple[str, str]]:
    return {device.worker: (device.state, device.reason) for device in record.devices}


def test_a_device_that_hangs_from_the_beginning_keeps_nobody_waiting(
    cluster: Cluster, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_client, "ANSWER_S", 1.0)
    cluster.start_worker("orin-1", ORIN)
    cluster.start_worker("orin-2", ORIN)
    cluster.registered("orin-1", "orin-2")
    cluster.stop("orin-1")
    record = carry_out(plan_of(tmp_path / "run", [spec_of(model, sources) for model in "AB"], sources), cluster)
    assert states(record) == [("orin/A", "done", "orin-2"), ("orin/B", "done", "orin-2")]
    assert device_states(record)["orin-1"] == ("silent", "it did not answer within 1 s")

    found, silent = connected(cluster.address, Certificates())
    assert ([facts.worker for facts in found], silent) == (["orin-2"], ["orin-1: it did not answer within 1 s"])
    run = CliRunner().invoke(app, ["devices", "--scheduler", cluster.address])
    assert "orin-2" in run.stdout
    assert isinstance(run.exception, NotPossible)
    assert "orin-1: it did not answer within 1 s" in str(run.exception)


def test_a_job_whose_device_falls_silent_is_done_by_another(
    cluster: Cluster, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "SILENT_S", 2.0)
    cluster.start_worker("orin-1", ORIN, STAND_IN="slow 60")
    plan = plan_of(tmp_path / "run", [spec_of("A", sources)], sources)

    def hang() -> None:
        cluster.stop("orin-1")
        cluster.start_worker("orin-2", ORIN)

    when_measuring(cluster, "orin-1", hang)
    record = carry_out(plan, cluster)
    assert states(record) == [("orin/A", "done", "orin-2")]
    assert any(
        "orin-1: the scheduler has not heard of it" in of.outcome.troubles[0] for of in record.jobs if of.outcome
    )
    assert device_states(record)["orin-1"][0] == "silent"


def test_a_device_that_answers_again_is_given_work_again(
    cluster: Cluster, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "SILENT_S", 1.0)
    cluster.start_worker("orin-1", ORIN)
    cluster.registered("orin-1")
    spec = spec_of("A", sources)
    executor = DaskExecutor(cluster.address, Certificates(), [spec], sources, lambda *_: None, wait_s=30)

    def state() -> str:
        return executor.devices()[0].state

    try:
        assert state() == "ready"
        cluster.stop("orin-1")
        until(lambda: state() == "silent", "it is found to be silent")
        threading.Timer(0.5, cluster.go_on, ("orin-1",)).start()
        assert executor.run(spec).outcome.state == "done"
        assert state() == "ready"
    finally:
        executor.close()


def test_a_device_that_stops_when_it_is_sent_a_file_is_left_for_another(
    cluster: Cluster, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its heartbeats still count as fresh: only the question itself can tell."""
    monkeypatch.setattr(dask_client, "ANSWER_S", 60.0)
    monkeypatch.setattr(dask_executor, "READING_S", 1.0)
    for name in ("orin-1", "orin-2"):
        cluster.start_worker(name, ORIN)
    cluster.registered("orin-1", "orin-2")
    spec = spec_of("A", sources)
    executor = DaskExecutor(cluster.address, Certificates(), [spec], sources, lambda *_: None, wait_s=30)
    try:
        cluster.stop("orin-1")
        outcome = executor.run(spec).outcome
        assert (outcome.state, outcome.worker) == ("done", "orin-2")
        assert outcome.troubles == ("orin-1: it did not answer within 1 s",)
    finally:
        executor.close()


def test_a_scheduler_that_hangs_is_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_client, "CONNECT_S", 1.0)
    monkeypatch.setattr(dask_client, "GREETING_S", 0.5)
    cluster.stop("scheduler")
    with pytest.raises(NotPossible, match="no scheduler answers"):
        connected(cluster.address, Certificates())


def test_a_model_that_fails_everywhere_benches_no_device(cluster: Cluster, sources: BlobCache, tmp_path: Path) -> None:
    for name in ("orin-1", "orin-2"):
        cluster.start_worker(name, ORIN, STAND_IN="crash bad")
    cluster.registered("orin-1", "orin-2")
    bad = [spec_of(f"bad-{number}", sources) for number in range(4)]
    record = carry_out(plan_of(tmp_path / "run", [*bad, spec_of("good", sources)], sources), cluster)
    assert [job.state for job in record.jobs] == ["failed"] * 4 + ["done"]
    assert set(device_states(record).values()) == {("ready", "")}


def test_a_file_that_is_gone_here_fails_its_job_once_and_no_device(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    for name in ("orin-1", "orin-2"):
        cluster.start_worker(name, ORIN)
    cluster.registered("orin-1", "orin-2")
    specs = [spec_of(model, sources) for model in "ABCDE"]
    for spec in specs[:4]:
        sources.path(spec.files["model.onnx"]).unlink()
    record = carry_out(plan_of(tmp_path / "run", specs, sources), cluster)
    assert [job.state for job in record.jobs] == ["failed"] * 4 + ["done"]
    for job in record.jobs[:4]:
        assert job.outcome is not None
        assert "model.onnx can no longer be read here" in job.outcome.reason
        assert (job.outcome.worker, job.outcome.troubles) == ("", ())
    assert set(device_states(record).values()) == {("ready", "")}
    assert times_measured(cluster, "orin-1", "orin-2") == 1
