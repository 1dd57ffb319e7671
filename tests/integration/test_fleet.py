"""Test `convnextpose fleet` as its users run it: exit codes, files, and what a second or a restarted run does.

Workers and the scheduler are processes of their own. A stand-in takes the place of the measuring process, except in
the last test.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export.common.files import sha256_file
from tests.support.command_line import ROOT, assert_three_parts, convnextpose, convnextpose_here
from tests.support.fleet_cluster import Cluster, until
from tests.support.fleet_stand_in import times_measured
from tests.support.report_folder import manifest_of

ORIN, X86 = "jetson_orin", "x86_box"
KINDS = ({"name": "orin", "resource": ORIN}, {"name": "x86", "resource": X86})
FILES = ("manifest.json", "bench/result.json", "job.json")

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``convnextpose fleet`` in this process, in the test's folder."""

    def command(*arguments: object) -> subprocess.CompletedProcess[str]:
        return convnextpose_here(monkeypatch, capsys, "fleet", *arguments, cwd=tmp_path)

    return command


def write_export(folder: Path, model: str) -> None:
    """Write what a fleet needs of an exported model, with a few bytes for each large file."""
    manifest = manifest_of(model, "checkpoint", ("fp32",))
    (onnx,) = manifest.artifacts
    for name in (onnx.path, "parity/truth.npz", "weights/weights.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"truth" if "truth" in name else f"{model} {name}".encode())
    kept = [onnx.model_copy(update={"sha256": sha256_file(folder / onnx.path)})]
    (folder / "manifest.json").write_text(manifest.model_copy(update={"artifacts": kept}).model_dump_json())


def write_matrix(place: Path, models: str = "AB", devices: Any = KINDS, **more: object) -> Path:
    """Write a matrix, called spring, of models that are exported already."""
    for model in models:
        write_export(place / "exported" / model, model)
    matrix = {"models": [f"exported/{model}" for model in models], "devices": devices, "runtimes": ["onnxruntime"]}
    (place / "spring.yaml").write_text(json.dumps(matrix | more))  # JSON is YAML
    return place / "spring.yaml"


def record_of(place: Path) -> dict[str, Any]:
    return dict(json.loads((place / "build/fleet/spring/fleet.json").read_text()))


def jobs_of(place: Path) -> dict[str, dict[str, Any]]:
    """Folder of each job → its record."""
    return {job["folder"]: job for job in record_of(place)["jobs"]}


def states_of(place: Path) -> dict[str, str]:
    return {folder: job["state"] for folder, job in jobs_of(place).items()}


def measured_by(cluster: Cluster, *names: str) -> int:
    return sum(times_measured(cluster.device(name)) for name in names)


def when_measuring(cluster: Cluster, name: str, then: Callable[[], object]) -> threading.Thread:
    """Call ``then`` in the background, as soon as that worker has begun with a job."""

    def wait() -> None:
        until(lambda: measured_by(cluster, name), f"{name} measures")
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_local_run_fills_its_folder_and_a_second_one_does_no_work(
    fleet: Command, state: Path, tmp_path: Path
) -> None:
    matrix = write_matrix(tmp_path)
    first = fleet("run", matrix)
    assert first.returncode == 0, first.stderr
    assert states_of(tmp_path) == dict.fromkeys(("orin/A", "x86/A", "orin/B", "x86/B"), "done")
    for folder in states_of(tmp_path):
        assert all((tmp_path / "build/fleet/spring" / folder / name).is_file() for name in FILES)
    record = record_of(tmp_path)
    assert (record["complete"], record["scheduler"], record["run"]) == (True, None, "spring")
    assert times_measured(state) == 4

    second = fleet("run", matrix)
    assert (second.returncode, second.stderr.count("up to date")) == (0, 4)
    assert [job["outcome"] for job in record_of(tmp_path)["jobs"]] == [job["outcome"] for job in record["jobs"]]
    assert times_measured(state) == 4

    as_json = fleet("run", matrix, "--json")
    assert [job["folder"] for job in json.loads(as_json.stdout)["jobs"]] == list(states_of(tmp_path))


def test_what_is_measured_again_keeps_the_earlier_result(fleet: Command, state: Path, tmp_path: Path) -> None:
    matrix, run = write_matrix(tmp_path, "A", KINDS[:1]), tmp_path / "build/fleet/spring"
    assert fleet("run", matrix).returncode == 0
    before = (run / "orin/A/bench/result.json").read_bytes()
    assert fleet("run", matrix, "--again").returncode == 0
    assert times_measured(state) == 2
    assert (run / "orin/A/bench/result.json").read_bytes() != before
    (earlier,) = record_of(tmp_path)["earlier"]
    assert (run / earlier["folder"] / "bench/result.json").read_bytes() == before
    assert earlier["folder"].startswith("earlier/")


def test_what_an_edited_matrix_no_longer_has_is_kept_and_not_counted(
    fleet: Command, state: Path, tmp_path: Path
) -> None:
    run = tmp_path / "build/fleet/spring"
    assert fleet("run", write_matrix(tmp_path, "AB", KINDS[:1])).returncode == 0
    before = {model: (run / f"orin/{model}/bench/result.json").read_bytes() for model in "AB"}
    assert fleet("run", write_matrix(tmp_path, "A", KINDS[:1], bench={"seed": 1})).returncode == 0
    assert states_of(tmp_path) == {"orin/A": "done"}
    earlier = {job["spec"]["model"]: job["folder"] for job in record_of(tmp_path)["earlier"]}
    assert {model: (run / folder / "bench/result.json").read_bytes() for model, folder in earlier.items()} == before
    assert fleet("run", write_matrix(tmp_path, "AB", KINDS[:1])).returncode == 0
    assert {model: (run / f"orin/{model}/bench/result.json").read_bytes() for model in "AB"} == before
    assert times_measured(state) == 3


def test_a_failed_job_is_exit_code_1_and_resume_does_only_that(
    fleet: Command, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "crash B")
    run = fleet("run", write_matrix(tmp_path, devices=KINDS[:1]))
    assert_three_parts(run, 1)
    assert "something terrible" in run.stderr
    assert states_of(tmp_path) == {"orin/A": "done", "orin/B": "failed"}
    monkeypatch.setenv("STAND_IN", "ok")
    resumed = fleet("resume")  # the latest in build/fleet
    assert resumed.returncode == 0, resumed.stderr
    assert states_of(tmp_path) == {"orin/A": "done", "orin/B": "done"}
    assert times_measured(state) == 3


def test_a_job_that_hangs_is_killed_at_its_deadline(
    fleet: Command, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "hang")
    run = fleet("run", write_matrix(tmp_path, "A", KINDS[:1], deadline_s=1))
    assert_three_parts(run, 1)
    assert "within 1 s" in run.stderr


def test_a_file_that_is_damaged_on_a_device_is_sent_again(fleet: Command, state: Path, tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path, "A", KINDS[:1])
    assert fleet("run", matrix).returncode == 0
    digest = jobs_of(tmp_path)["orin/A"]["spec"]["files"]["onnx/A-fp32.onnx"]
    blob = state / "blobs" / digest
    blob.unlink()
    blob.write_bytes(b"rotten")
    assert fleet("run", matrix, "--again").returncode == 0
    assert sha256_file(blob) == digest


def test_a_damaged_result_is_made_again(fleet: Command, state: Path, tmp_path: Path) -> None:
    assert fleet("run", write_matrix(tmp_path, "A", KINDS[:1])).returncode == 0
    path = tmp_path / "build/fleet/spring/orin/A/bench/result.json"
    before = path.read_bytes()
    path.unlink()
    path.write_text("edited")
    assert fleet("resume", "build/fleet/spring").returncode == 0
    assert path.read_bytes() == before
    assert times_measured(state) == 1  # the device has it


def test_resume_is_refused_where_a_file_to_be_sent_is_gone_or_the_code_is_another(
    fleet: Command, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "crash A")
    assert fleet("run", write_matrix(tmp_path, "A", KINDS[:1])).returncode == 1
    path = tmp_path / "build/fleet/spring/fleet.json"
    whole = path.read_text()
    path.write_text(whole.replace(record_of(tmp_path)["code"], "0" * 64))
    assert_three_parts(fleet("resume"), 2)
    path.write_text(whole)
    digest = jobs_of(tmp_path)["orin/A"]["spec"]["files"]["onnx/A-fp32.onnx"]
    (tmp_path / "build/fleet/blobs" / digest).unlink()
    assert_three_parts(fleet("resume"), 2)


def test_status_tells_states_and_reasons(
    fleet: Command, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "crash B")
    fleet("run", write_matrix(tmp_path, devices=KINDS[:1]))
    status = fleet("status", "build/fleet/spring")
    assert status.returncode == 0
    for part in ("spring: 2 jobs, 1 done, 1 failed", "orin/B", "something terrible"):
        assert part in status.stdout
    assert json.loads(fleet("status", "--json").stdout) == record_of(tmp_path)
    (tmp_path / "build/fleet/spring/fleet.json").write_text("{}")
    assert_three_parts(fleet("status"), 2)


def test_mistakes_are_exit_code_2_and_write_no_run(fleet: Command, tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path)
    (tmp_path / "unknown.yaml").write_text("modles: [S]\n")
    for arguments in (
        ("run", "nowhere.yaml"),
        ("run", "unknown.yaml"),
        ("run", matrix, "--scheduler", "tcp://192.0.2.7:8786"),
        ("run", matrix, "--scheduler", "tls://127.0.0.1:8786", "--tls-ca", "no.pem"),
        ("resume",),
        ("status", "."),
    ):
        assert_three_parts(fleet(*arguments), 2)
    assert not list(tmp_path.rglob("fleet.json"))


def test_a_killed_worker_loses_nothing_and_a_second_run_does_no_work(
    cluster: Cluster, fleet: Command, tmp_path: Path
) -> None:
    cluster.start_worker("orin-1", ORIN, STAND_IN="slow 60")
    cluster.start_worker("orin-2", ORIN, STAND_IN="slow 0.3")
    cluster.registered("orin-1", "orin-2")
    matrix = write_matrix(tmp_path, "ABC", KINDS[:1])
    thread = when_measuring(cluster, "orin-1", lambda: cluster.kill("orin-1"))
    run = fleet("run", matrix, "--scheduler", cluster.address)
    thread.join()
    assert run.returncode == 0, run.stderr
    assert {(job["state"], job["worker"]) for job in jobs_of(tmp_path).values()} == {("done", "orin-2")}
    assert measured_by(cluster, "orin-2") == 3
    second = fleet("run", matrix, "--scheduler", cluster.address)
    assert (second.returncode, second.stderr.count("up to date")) == (0, 3)
    assert measured_by(cluster, "orin-2") == 3


def test_a_killed_worker_that_nobody_can_replace_is_exit_code_4(
    cluster: Cluster, fleet: Command, tmp_path: Path
) -> None:
    cluster.start_worker("orin-1", ORIN, STAND_IN="slow 60")
    cluster.start_worker("box", X86)
    cluster.registered("orin-1", "box")
    thread = when_measuring(cluster, "orin-1", lambda: cluster.kill("orin-1"))
    run = fleet("run", write_matrix(tmp_path, "A"), "--scheduler", cluster.address, "--wait", 2)
    thread.join()
    assert_three_parts(run, 4)
    assert states_of(tmp_path) == {"orin/A": "lost", "x86/A": "done"}
    cluster.start_worker("orin-1", ORIN)
    assert fleet("resume").returncode == 0
    assert set(states_of(tmp_path).values()) == {"done"}
    assert measured_by(cluster, "box") == 1


def test_a_restarted_client_resumes(cluster: Cluster, fleet: Command, tmp_path: Path) -> None:
    cluster.start_worker("orin-1", ORIN, STAND_IN="slow 1.5")
    cluster.start_worker("orin-2", ORIN, STAND_IN="slow 1.5")
    cluster.registered("orin-1", "orin-2")
    matrix = write_matrix(tmp_path, "ABC", KINDS[:1])
    command = [sys.executable, "-m", "cli.main", "fleet", "run", str(matrix), "--scheduler", cluster.address]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as client:
        until(lambda: measured_by(cluster, "orin-1", "orin-2") == 2, "two jobs")
        client.kill()
    before = record_of(tmp_path)
    assert not before["complete"]
    assert "resume" in fleet("status").stdout
    resumed = fleet("resume")
    assert resumed.returncode == 0, resumed.stderr
    assert set(states_of(tmp_path).values()) == {"done"}
    assert sum(job["outcome"]["found"] for job in jobs_of(tmp_path).values()) == 2
    assert measured_by(cluster, "orin-1", "orin-2") == 3
    assert record_of(tmp_path)["created"] == before["created"]


def test_a_worker_of_another_version_gets_nothing(cluster: Cluster, fleet: Command, tmp_path: Path) -> None:
    cluster.start_worker("orin-1", ORIN, STAND_IN_CODE="another")
    cluster.registered("orin-1")
    matrix = write_matrix(tmp_path, "AB", KINDS[:1])
    run = fleet("run", matrix, "--scheduler", cluster.address, "--wait", 1)
    assert_three_parts(run, 4)
    assert "orin-1: it has another version of this project" in run.stderr
    devices = fleet("devices", "--scheduler", cluster.address)
    assert devices.returncode == 0, devices.stderr
    assert "another version" in devices.stdout

    cluster.start_worker("orin-2", ORIN)
    cluster.registered("orin-2")
    again = fleet("run", matrix, "--scheduler", cluster.address)
    assert again.returncode == 0, again.stderr
    assert {job["worker"] for job in jobs_of(tmp_path).values()} == {"orin-2"}
    assert {of["worker"]: of["state"] for of in record_of(tmp_path)["devices"]} == {
        "orin-1": "refused",
        "orin-2": "ready",
    }
    assert measured_by(cluster, "orin-1") == 0


def test_a_job_that_fails_on_one_device_is_tried_on_another(cluster: Cluster, fleet: Command, tmp_path: Path) -> None:
    cluster.start_worker("orin-1", ORIN, STAND_IN="crash")
    cluster.start_worker("orin-2", ORIN, STAND_IN="slow 0.2")
    cluster.registered("orin-1", "orin-2")
    run = fleet("run", write_matrix(tmp_path, "AB", KINDS[:1]), "--scheduler", cluster.address)
    assert run.returncode == 0, run.stderr
    assert {job["worker"] for job in jobs_of(tmp_path).values()} == {"orin-2"}
    assert measured_by(cluster, "orin-1") >= 1


def test_replicas_are_measured_by_different_workers_and_files_are_sent_once(
    cluster: Cluster, fleet: Command, tmp_path: Path
) -> None:
    for name in ("orin-1", "orin-2"):
        cluster.start_worker(name, ORIN)
    cluster.registered("orin-1", "orin-2")
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


def test_where_nobody_can_do_a_job_that_is_exit_code_4(cluster: Cluster, fleet: Command, tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path, "A", KINDS[1:])
    cluster.start_worker("orin-1", ORIN)
    cluster.registered("orin-1")
    run = fleet("run", matrix, "--scheduler", cluster.address, "--wait", 0.5)
    assert_three_parts(run, 4)
    assert f"no worker has the resource {X86}" in run.stderr
    assert states_of(tmp_path) == {"x86/A": "lost"}
    cluster.kill("scheduler")
    assert_three_parts(fleet("run", matrix, "--scheduler", cluster.address), 4)


def test_a_run_is_either_local_or_a_schedulers(cluster: Cluster, fleet: Command, state: Path, tmp_path: Path) -> None:
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
from tests.support import fleet_quick_job
fleet_quick_job.dask_setup(None)
from cli.main import run
run()
"""


def rows(run: Path) -> dict[str, list[str]]:
    """Folder of each job → the rows that were measured."""
    jobs = json.loads((run / "fleet.json").read_text())["jobs"]
    results = {job["folder"]: json.loads((run / job["folder"] / "bench/result.json").read_text()) for job in jobs}
    return {folder: [row["id"] for row in result["rows"]] for folder, result in results.items()}


def test_a_real_matrix_gives_the_same_rows_here_and_through_workers_of_which_one_is_killed(
    demo_export: Path, tmp_path: Path
) -> None:
    """Everything is real, though nothing is measured for long; the local run has no Dask."""
    shared = {"name": "whole", "models": [str(demo_export)], "devices": KINDS, "runtimes": ["onnxruntime"]}
    for out in ("here", "there"):
        matrix = shared | {"bench": {"budget_s": 1, "threads": 1}, "out": out}
        (tmp_path / f"{out}.yaml").write_text(json.dumps(matrix))
    (tmp_path / "cluster").mkdir()
    with Cluster(tmp_path / "cluster", preload=("--preload", "tests.support.fleet_quick_job")) as cluster:
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
    for shown in ("orin: speed-up", "x86: speed-up", "orin-1", "worker orin-2; reference", "worker box; reference"):
        assert shown in there.stdout
    command = [sys.executable, "-c", WITHOUT_DASK, "fleet", "run", str(tmp_path / "here.yaml")]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    here = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert here.returncode == 0, here.stderr
    found = rows(tmp_path / "there/fleet/whole")
    assert found == rows(tmp_path / "here/fleet/whole")
    assert {folder: len(names) for folder, names in found.items()} == {"orin/XS-atto": 2, "x86/XS-atto": 2}
