"""Test failures of workers, jobs, files and the scheduler, through a cluster of processes on this machine."""

import json
import sys
import threading
from pathlib import Path

import pytest

from bench.fleet import cluster as dask_cluster
from bench.fleet.address import Scheduler
from bench.fleet.blobs import BlobCache
from bench.fleet.cluster import Worker, connected, describe
from bench.fleet.device import OTHER_CODE
from export.common.errors import BadInput, NotPossible
from tests.support.fleet_cluster import Cluster, run_plan, states, until
from tests.support.fleet_plans import ORIN, plan_of, spec_of

pytest.importorskip("distributed")


def test_hanging_new_worker_gets_no_job(
    cluster: Cluster, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_cluster, "ANSWER_S", 4.0)
    cluster.start_workers("orin-1", "orin-2", resource=ORIN)
    cluster.stop("orin-1")
    record = run_plan(plan_of(tmp_path / "run", [spec_of(model, sources) for model in "AB"], sources), cluster)
    assert states(record) == [("orin/A", "done", "orin-2"), ("orin/B", "done", "orin-2")]
    (silent,) = [device for device in record.devices if device.state == "silent"]
    assert (silent.worker, "within 4 s" in silent.reason) == ("orin-1", True)


@pytest.mark.parametrize("extra", [{}, {"resources": {ORIN: 1.0}, "environment": {}}])
def test_device_of_another_version_is_refused_whatever_its_description(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, object]
) -> None:
    facts = {"worker": "", "machine": "m", "code": "c", "fingerprint": "f", **extra}
    monkeypatch.setattr(dask_cluster, "call", lambda *_: json.dumps(facts))
    device = Worker("tcp://127.0.0.1:1", "orin-1", {ORIN: 1.0})
    describe(None, [device])
    assert device.state == ("refused", OTHER_CODE)
    assert device.record({"orin": ORIN}).state == "refused"


def test_answer_of_another_form_is_a_failed_job(cluster: Cluster, sources: BlobCache, tmp_path: Path) -> None:
    cluster.start_worker("orin-1", ORIN, FAKE_JOB_ANSWER='{"files": {"../../elsewhere": ""}}')
    record = run_plan(plan_of(tmp_path / "run", [spec_of("A", sources)], sources), cluster)
    assert states(record) == [("orin/A", "failed", "orin-1")]


def test_lost_scheduler_ends_the_run_and_finished_jobs_are_kept(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    cluster.start_worker("orin-1", ORIN, FAKE_JOB="slow 1")
    plan = plan_of(tmp_path / "run", [spec_of(model, sources) for model in "AB"], sources)

    def kill() -> None:
        until(lambda: cluster.measurements("orin-1") == 2, "the second job")
        cluster.kill("scheduler")
        cluster.kill("orin-1")

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(NotPossible, match="the scheduler is gone"):
        run_plan(plan, cluster)
    cluster.start_scheduler()
    cluster.start_worker("orin-1", ORIN)
    assert {state for _, state, _ in states(run_plan(plan, cluster))} == {"done"}
    assert cluster.measurements("orin-1") == 3  # two jobs, one of them twice


def test_job_that_fails_everywhere_has_failed_and_others_continue(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    cluster.start_workers("orin-1", "orin-2", resource=ORIN, FAKE_JOB="crash bad")
    record = run_plan(plan_of(tmp_path / "run", [spec_of(m, sources) for m in ("bad", "good")], sources), cluster)
    assert [job.state for job in record.jobs] == ["failed", "done"]
    assert cluster.measurements("orin-1", "orin-2") == 3


def test_job_that_raises_is_tried_on_another_device(cluster: Cluster, sources: BlobCache, tmp_path: Path) -> None:
    cluster.start_workers("orin-1", resource=ORIN, FAKE_JOB_DISK_FULL="1")
    cluster.start_workers("orin-2", resource=ORIN)
    record = run_plan(plan_of(tmp_path / "run", [spec_of(model, sources) for model in "AB"], sources), cluster)
    assert {(state, worker) for _, state, worker in states(record)} == {("done", "orin-2")}
    troubles = [trouble for job in record.jobs if job.outcome for trouble in job.outcome.troubles]
    assert any(trouble.startswith("orin-1: ") and "No space left on device" in trouble for trouble in troubles)


def test_connection_without_certificates_scheduler_or_dask_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_CONFIG", str(tmp_path))
    monkeypatch.setattr(dask_cluster, "CONNECT_S", 0.5)
    with pytest.raises(BadInput, match="needs certificates"), connected(Scheduler("tls://127.0.0.1:1")):
        pass
    with pytest.raises(NotPossible, match="no scheduler answers"), connected(Scheduler("tcp://127.0.0.1:1")):
        pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(NotPossible, match=r"not installed.*convnextpose-deploy\[fleet\]"),
        connected(Scheduler("tcp://127.0.0.1:1")),
    ):
        pass
