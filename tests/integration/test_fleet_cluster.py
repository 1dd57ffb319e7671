"""Test `convnextpose fleet` through a scheduler and workers, which are processes of their own.

A fake takes the place of the measuring process, except in the last test.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from tests.support.command_line import ROOT, assert_three_parts, convnextpose
from tests.support.fleet_cluster import Cluster, until
from tests.support.fleet_plans import KINDS, ORIN, X86, jobs_of, record_of, states_of, write_matrix
from tests.support.tiny_export import Run

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_killed_worker_loses_nothing_and_a_second_run_does_no_work(
    cluster: Cluster, fleet: Command, tmp_path: Path
) -> None:
    cluster.start_worker("orin-1", ORIN, FAKE_JOB="slow 60")
    cluster.start_worker("orin-2", ORIN, FAKE_JOB="slow 0.3")
    cluster.registered("orin-1", "orin-2")
    matrix = write_matrix(tmp_path, "ABC", KINDS[:1])
    thread = cluster.when_measuring("orin-1", lambda: cluster.kill("orin-1"))
    run = fleet("run", matrix, "--scheduler", cluster.address)
    thread.join()
    assert run.returncode == 0, run.stderr
    assert {(job["state"], job["worker"]) for job in jobs_of(tmp_path).values()} == {("done", "orin-2")}
    assert cluster.measurements("orin-2") == 3
    second = fleet("run", matrix, "--scheduler", cluster.address)
    assert (second.returncode, second.stderr.count("up to date")) == (0, 3)
    assert cluster.measurements("orin-2") == 3


def test_killed_worker_without_replacement_is_exit_code_4(cluster: Cluster, fleet: Command, tmp_path: Path) -> None:
    cluster.start_worker("orin-1", ORIN, FAKE_JOB="slow 60")
    cluster.start_worker("box", X86)
    cluster.registered("orin-1", "box")
    thread = cluster.when_measuring("orin-1", lambda: cluster.kill("orin-1"))
    matrix = write_matrix(tmp_path, "A")
    run = fleet("run", matrix, "--scheduler", cluster.address, "--wait", 2)
    thread.join()
    assert_three_parts(run, 4)
    assert states_of(tmp_path) == {"orin/A": "lost", "x86/A": "done"}
    cluster.start_worker("orin-1", ORIN)
    assert fleet("run", matrix, "--scheduler", cluster.address).returncode == 0
    assert set(states_of(tmp_path).values()) == {"done"}
    assert cluster.measurements("box") == 1


def test_restarted_client_resumes(cluster: Cluster, fleet: Command, tmp_path: Path) -> None:
    cluster.start_worker("orin-1", ORIN, FAKE_JOB="slow 1.5")
    cluster.start_worker("orin-2", ORIN, FAKE_JOB="slow 1.5")
    cluster.registered("orin-1", "orin-2")
    matrix = write_matrix(tmp_path, "ABC", KINDS[:1])
    command = [sys.executable, "-m", "cli.main", "fleet", "run", str(matrix), "--scheduler", cluster.address]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as client:
        until(lambda: cluster.measurements("orin-1", "orin-2") == 2, "two jobs")
        client.kill()
    before = record_of(tmp_path)
    assert not before["complete"]
    assert "no client works on it" in fleet("status").stdout
    resumed = fleet("run", matrix, "--scheduler", cluster.address)
    assert resumed.returncode == 0, resumed.stderr
    assert set(states_of(tmp_path).values()) == {"done"}
    assert sum(job["outcome"]["found"] for job in jobs_of(tmp_path).values()) == 2
    assert cluster.measurements("orin-1", "orin-2") == 3
    assert record_of(tmp_path)["created"] == before["created"]


def test_worker_of_another_version_gets_no_job(cluster: Cluster, fleet: Command, tmp_path: Path) -> None:
    cluster.start_workers("orin-1", resource=ORIN, FAKE_JOB_CODE="another")
    matrix = write_matrix(tmp_path, "AB", KINDS[:1])
    run = fleet("run", matrix, "--scheduler", cluster.address, "--wait", 1)
    assert_three_parts(run, 4)
    assert "orin-1: it has another version of this project" in run.stderr

    cluster.start_workers("orin-2", resource=ORIN)
    again = fleet("run", matrix, "--scheduler", cluster.address)
    assert again.returncode == 0, again.stderr
    assert {job["worker"] for job in jobs_of(tmp_path).values()} == {"orin-2"}
    assert {of["worker"]: of["state"] for of in record_of(tmp_path)["devices"]} == {
        "orin-1": "refused",
        "orin-2": "ready",
    }
    assert cluster.measurements("orin-1") == 0


def test_job_that_fails_on_one_device_is_tried_on_another(cluster: Cluster, fleet: Command, tmp_path: Path) -> None:
    cluster.start_worker("orin-1", ORIN, FAKE_JOB="crash")
    cluster.start_worker("orin-2", ORIN, FAKE_JOB="slow 0.2")
    cluster.registered("orin-1", "orin-2")
    run = fleet("run", write_matrix(tmp_path, "AB", KINDS[:1]), "--scheduler", cluster.address)
    assert run.returncode == 0, run.stderr
    assert {job["worker"] for job in jobs_of(tmp_path).values()} == {"orin-2"}
    assert cluster.measurements("orin-1") >= 1


def test_replicas_run_on_different_workers_and_files_are_sent_once(
    cluster: Cluster, fleet: Command, tmp_path: Path
) -> None:
    cluster.start_workers("orin-1", "orin-2", resource=ORIN)
    kind = {"name": "orin", "resource": ORIN, "count": 2}
    run = fleet("run", write_matrix(tmp_path, "AB", [kind]), "--scheduler", cluster.address)
    assert run.returncode == 0, run.stderr
    jobs = jobs_of(tmp_path)
    assert list(jobs) == ["orin/A", "orin-2/A", "orin/B", "orin-2/B"]
    for model in "AB":
        assert len({job["worker"] for job in jobs.values() if job["spec"]["model"] == model}) == 2
    for name in ("orin-1", "orin-2"):
        sent = sum(job["outcome"]["bytes_sent"] for job in jobs.values() if job["worker"] == name)
        digests = {digest for job in jobs.values() for digest in job["spec"]["files"].values()}
        assert sent == sum((tmp_path / "build/fleet/blobs" / digest).stat().st_size for digest in digests)
    again = fleet("run", tmp_path / "spring.yaml", "--scheduler", cluster.address, "--again")
    assert again.returncode == 0, again.stderr
    for model in "AB":
        assert len({job["worker"] for job in jobs_of(tmp_path).values() if job["spec"]["model"] == model}) == 2


def test_missing_resource_or_scheduler_is_exit_code_4(cluster: Cluster, fleet: Command, tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path, "A", KINDS[1:])
    cluster.start_workers("orin-1", resource=ORIN)
    run = fleet("run", matrix, "--scheduler", cluster.address, "--wait", 0.5)
    assert_three_parts(run, 4)
    assert f"no worker has the resource {X86}" in run.stderr
    assert states_of(tmp_path) == {"x86/A": "lost"}
    cluster.kill("scheduler")
    assert_three_parts(fleet("run", matrix, "--scheduler", cluster.address), 4)


def test_run_is_either_local_or_uses_a_scheduler(cluster: Cluster, fleet: Command, state: Path, tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path, "A", KINDS[:1])
    assert fleet("run", matrix).returncode == 0
    assert_three_parts(fleet("run", matrix, "--scheduler", cluster.address), 2)


WITHOUT_DASK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("dask", "distributed"):
            raise ImportError(f"{name} is not installed")
sys.meta_path.insert(0, Blocked())
from tests.support import fleet_short_job
fleet_short_job.dask_setup(None)
from cli.main import run
run()
"""


def rows(run: Path) -> dict[str, list[str]]:
    """Folder of each job → the rows that were measured."""
    jobs = json.loads((run / "fleet.json").read_text())["jobs"]
    results = {job["folder"]: json.loads((run / job["folder"] / "bench/result.json").read_text()) for job in jobs}
    return {folder: [row["id"] for row in result["rows"]] for folder, result in results.items()}


def test_real_matrix_gives_the_same_rows_locally_and_through_workers(tiny_run: Run, tmp_path: Path) -> None:
    """Everything is real, though nothing is measured for long; the local run has no Dask."""
    shared = {
        "name": "whole",
        "models": [str(tiny_run[0] / "build/tiny")],
        "runtimes": ["onnxruntime"],
        "bench": {"budget_s": 1, "threads": 1},
    }
    for out, devices in (("here", KINDS[:1]), ("there", KINDS)):
        matrix = shared | {"devices": devices, "out": out}
        (tmp_path / f"{out}.yaml").write_text(json.dumps(matrix))
    (tmp_path / "cluster").mkdir()
    with Cluster(tmp_path / "cluster", preload=("--preload", "tests.support.fleet_short_job")) as cluster:
        cluster.start_worker("orin-1", ORIN)
        cluster.start_worker("box", X86)

        def replace() -> None:
            until(lambda: list(cluster.device("orin-1").glob("jobs/*/result/bench")), "orin-1 measures")
            cluster.kill("orin-1")
            cluster.start_worker("orin-2", ORIN)

        thread = threading.Thread(target=replace)
        thread.start()
        there = convnextpose("fleet", "run", "there.yaml", "--scheduler", cluster.address, cwd=tmp_path)
        thread.join()
    assert there.returncode == 0, there.stderr
    assert {job["worker"] for job in json.loads((tmp_path / "there/fleet/whole/fleet.json").read_text())["jobs"]} == {
        "orin-2",
        "box",
    }
    command = [sys.executable, "-c", WITHOUT_DASK, "fleet", "run", str(tmp_path / "here.yaml")]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    here = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert here.returncode == 0, here.stderr
    found = rows(tmp_path / "there/fleet/whole")
    assert rows(tmp_path / "here/fleet/whole") == {"orin/tiny": found["orin/tiny"]}
    assert {folder: len(names) for folder, names in found.items()} == {"orin/tiny": 2, "x86/tiny": 2}
