"""Through a real scheduler and real workers in processes of their own, which are killed on purpose.

What is measured is measured by the stand-in, except in the test of the whole.
"""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from bench.fleet import child, dask_executor, device
from bench.fleet.address import Certificates
from bench.fleet.blobs import BlobCache
from bench.fleet.record import measured, read_fleet
from bench.fleet.run import require_done
from bench.report.fleet_run import read_measurements
from export.errors import BadInput, NotPossible
from tests.command_line import ROOT, assert_three_parts, convnextpose
from tests.fleet_cluster import DOCS, Cluster, until
from tests.fleet_plans import ORIN, SHARED, X86, manifest, plan_of, spec_of
from tests.fleet_runs import PRELOAD, carry_out, carry_out_at, states, times_measured, when_measuring
from tests.fleet_stand_in import COMMAND

distributed = pytest.importorskip("distributed")

KINDS = (("orin", ORIN), ("x86", X86))


def test_a_killed_worker_loses_nothing_where_another_is_of_its_kind(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    cluster.start_worker("orin-1", ORIN, STAND_IN="slow 60")
    plan = plan_of(tmp_path / "run", [spec_of("A", sources), spec_of("B", sources)], sources)

    def replace() -> None:
        cluster.kill("orin-1")
        cluster.start_worker("orin-2", ORIN)

    when_measuring(cluster, "orin-1", replace)
    record = carry_out(plan, cluster)
    assert states(record) == [("orin/A", "done", "orin-2"), ("orin/B", "done", "orin-2")]
    assert any("orin-1: its worker is gone" in of.outcome.troubles for of in record.jobs if of.outcome)
    assert {device.worker: device.state for device in record.devices} == {"orin-1": "gone", "orin-2": "ready"}


def test_a_job_whose_only_device_is_lost_is_reported_as_lost(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    cluster.start_worker("orin-1", ORIN, STAND_IN="slow 60")
    cluster.start_worker("box", X86)
    cluster.registered("orin-1", "box")
    specs = [spec_of("A", sources), spec_of("A", sources, "x86", X86), spec_of("B", sources, "x86", X86)]
    when_measuring(cluster, "orin-1", lambda: cluster.kill("orin-1"))
    record = carry_out(plan_of(tmp_path / "run", specs, sources), cluster, wait_s=2)
    assert [job.state for job in record.jobs] == ["lost", "done", "done"]
    with pytest.raises(NotPossible, match="1 of 3 jobs lost") as told:
        require_done(record)
    assert "orin-1: its worker is not connected" in told.value.seen


def test_a_restarted_scheduler_costs_only_what_was_running(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    cluster.start_worker("orin-1", ORIN, STAND_IN="slow 1")
    plan = plan_of(tmp_path / "run", [spec_of(model, sources) for model in "ABC"], sources)

    def restart() -> None:
        until(lambda: times_measured(cluster, "orin-1") == 2, "the second job")
        cluster.kill("scheduler")
        cluster.kill("orin-1")  # it would end by itself, within half a minute
        cluster.start_scheduler()
        cluster.start_worker("orin-1", ORIN)

    thread = threading.Thread(target=restart)
    thread.start()
    record = carry_out(plan, cluster, wait_s=30)
    thread.join()
    assert {state for _, state, _ in states(record)} == {"done"}, [job.outcome for job in record.jobs]
    assert times_measured(cluster, "orin-1") == 4  # three jobs, one of them twice


def test_a_killed_client_is_started_again_and_picks_up_what_the_device_finished(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    cluster.start_worker("orin-1", ORIN, STAND_IN="slow 1.5")
    cluster.start_worker("orin-2", ORIN, STAND_IN="slow 1.5")
    specs = [spec_of(model, sources) for model in "ABC"]
    plan = plan_of(tmp_path / "run", specs, sources)
    code = (
        "import sys; from pathlib import Path; from tests import fleet_runs as t\n"
        "from tests.fleet_plans import plan_of, spec_of; from bench.fleet.blobs import BlobCache\n"
        "place = Path(sys.argv[1]); sources = BlobCache(place / 'blobs')\n"
        "plan = plan_of(place / 'run', [spec_of(model, sources) for model in 'ABC'], sources)\n"
        "class There: address = sys.argv[2]\n"
        "t.carry_out(plan, There())"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path), cluster.address], cwd=ROOT) as client:
        until(lambda: times_measured(cluster, "orin-1", "orin-2") == 2, "two jobs")
        client.kill()
    before = read_fleet(plan.folder)
    assert not before.complete
    record = carry_out(plan, cluster)
    assert {state for _, state, _ in states(record)} == {"done"}
    assert times_measured(cluster, "orin-1", "orin-2") == 3
    assert sum(job.outcome.found for job in record.jobs if job.outcome) == 2
    assert (record.created, record.complete) == (before.created, True)


def test_a_device_that_fails_everything_is_benched_and_its_jobs_are_done_by_another(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    cluster.start_worker("orin-1", ORIN, STAND_IN="crash")
    cluster.start_worker("orin-2", ORIN, STAND_IN="slow 0.3")
    plan = plan_of(tmp_path / "run", [spec_of(model, sources) for model in "ABCDEFGH"], sources)
    cluster.registered("orin-1", "orin-2")
    record = carry_out(plan, cluster)
    assert {(state, worker) for _, state, worker in states(record)} == {("done", "orin-2")}
    benched = next(device for device in record.devices if device.worker == "orin-1")
    assert benched.state == "benched"
    assert "it failed 3 jobs in a row; the last: it ended with SIGABRT (something terrible)" in benched.reason
    assert times_measured(cluster, "orin-1") == 3


def test_devices_that_answer_nonsense_cost_the_run_nothing_that_a_healthy_one_can_do(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    """Each of these answers once ended the whole run, and the healthy device's jobs with it."""
    cluster.start_worker("orin-0", ORIN, STAND_IN_NONSENSE=f"run_job {json.dumps('[' * 99_000)}")
    for number, answer in enumerate(('lacking ["/etc/passwd"]', "lacking null", "run_job null", "hello {}"), 1):
        cluster.start_worker(f"orin-{number}", ORIN, STAND_IN_NONSENSE=answer)
    cluster.start_worker("orin-9", ORIN, STAND_IN="slow 0.3")
    cluster.registered(*(f"orin-{number}" for number in (0, 1, 2, 3, 4, 9)))
    plan = plan_of(tmp_path / "run", [spec_of(model, sources) for model in "ABCDEF"], sources)
    record = carry_out(plan, cluster)
    assert {(state, worker) for _, state, worker in states(record)} == {("done", "orin-9")}
    said = " ".join(trouble for job in record.jobs if job.outcome for trouble in job.outcome.troubles)
    for reason in ("nested beyond reason", "it wants files that", "answers with nothing", "a NoneType, and no text"):
        assert reason in said
    assert next(d for d in record.devices if d.worker == "orin-4").reason.startswith("it answers in another form")


def test_what_nobody_can_do_is_named_and_a_device_of_other_code_gets_nothing(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    cluster.start_worker("orin-1", ORIN, STAND_IN_CODE="another")
    cluster.registered("orin-1")
    specs = [spec_of("A", sources), spec_of("A", sources, "x86", X86)]
    record = carry_out(plan_of(tmp_path / "run", specs, sources), cluster, wait_s=0.5)
    reasons = [job.outcome.reason for job in record.jobs if job.outcome]
    assert "orin-1: it has another version of this project" in reasons[0]
    assert f"no worker has the resource {X86}" in reasons[1]
    assert times_measured(cluster, "orin-1") == 0


def test_replicas_are_measured_by_different_devices_and_files_travel_once(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    cluster.start_worker("orin-1", ORIN)
    cluster.start_worker("orin-2", ORIN)
    specs = [spec_of(model, sources, replica=n) for model in "AB" for n in (1, 2)]
    record = carry_out(plan_of(tmp_path / "run", specs, sources), cluster)
    assert {job.state for job in record.jobs} == {"done"}
    for model in "AB":
        assert len({job.worker for job in record.jobs if job.spec.model == model}) == 2
    for worker in ("orin-1", "orin-2"):
        sent = sum(job.outcome.bytes_sent for job in record.jobs if job.outcome and job.worker == worker)
        assert sent == 2 * len(b"A" + manifest("A")) + len(SHARED)


def test_a_matrix_through_a_local_cluster(sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two kinds of device, which here are workers in this very process, with a resource each."""
    monkeypatch.setenv(device.FOLDER_VARIABLE, str(tmp_path / "device"))
    monkeypatch.setattr(child, "COMMAND", COMMAND)
    monkeypatch.setattr(dask_executor, "LOOK_S", 0.2)
    specs = [spec_of(model, sources, kind, resource) for model in "AB" for kind, resource in KINDS]
    plan = plan_of(tmp_path / "run", specs, sources)
    options = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "dashboard_address": None}
    with distributed.LocalCluster(n_workers=0, threads_per_worker=1, silence_logs=50, **options) as local:
        for count, (_, resource) in enumerate(KINDS, 1):
            made = {**local.new_spec["options"], "resources": {resource: 1}}
            local.new_spec = {**local.new_spec, "options": made}
            local.scale(count)
        record = carry_out_at(plan, local.scheduler_address)
    on = {"orin": "0", "x86": "1"}
    assert states(record) == [(spec.name, "done", on[spec.device]) for spec in specs]
    assert list(measured(plan.folder, record)) == ["orin/A", "x86/A", "orin/B", "x86/B"]


def test_heartbeats_go_on_while_a_job_is_measured(cluster: Cluster, sources: BlobCache, tmp_path: Path) -> None:
    from distributed import Client

    cluster.start_worker("orin-1", ORIN, STAND_IN="slow 3")
    plan = plan_of(tmp_path / "run", [spec_of("A", sources)], sources)
    run = threading.Thread(target=carry_out, args=(plan, cluster))
    run.start()
    until(lambda: times_measured(cluster, "orin-1"), "the device measures")
    with Client(cluster.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]

        def last_seen() -> float:
            (worker,) = client.scheduler_info()["workers"].values()
            return float(worker["last_seen"])

        began = last_seen()
        until(lambda: last_seen() > began + 1, "two heartbeats", patience_s=2.5)
    assert not read_fleet(plan.folder).complete
    run.join()
    assert read_fleet(plan.folder).complete


def test_dask_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.fleet import dask_client

    monkeypatch.setattr(dask_client, "find_spec", lambda name: None)
    with pytest.raises(NotPossible, match="distributed is not installed"):
        dask_client.connect("tcp://127.0.0.1:1", Certificates())


def test_a_scheduler_that_is_not_there_is_not_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.fleet import dask_client

    monkeypatch.setenv("DASK_CONFIG", str(tmp_path))
    with pytest.raises(NotPossible, match="no scheduler answers"):
        dask_client.connect("tcp://127.0.0.1:1", Certificates(), timeout_s=0.5)
    with pytest.raises(BadInput, match="needs certificates"):
        dask_client.connect("tls://127.0.0.1:1", Certificates(), timeout_s=0.5)


def documented(after: str) -> list[str]:
    """The words of the command in docs/fleet.md that begins so."""
    line = next(line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.strip().startswith(after))
    return line.strip().removeprefix("ExecStart=/opt/convnextpose/.venv/bin/").split()


def as_documented(cluster: Cluster, name: str, words: list[str], change: dict[str, str]) -> None:
    """Start it, with what must differ here: ports, paths and names."""
    assert words[0] == "dask"
    program = {"scheduler": "distributed.cli.dask_scheduler", "worker": "distributed.cli.dask_worker"}[words[1]]
    assert set(change) <= set(words)
    own = {"CONVNEXTPOSE_FLEET": str(cluster.device(name)), "TMPDIR": str(cluster.folder / name)}
    preload = PRELOAD if words[1] == "worker" else ()
    cluster.start(name, (program, *(change.get(word, word) for word in words[2:])), preload, **own)


def free_ports(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def listening(process: int) -> set[str]:
    return {c.laddr.ip for c in psutil.Process(process).net_connections("tcp") if c.status == psutil.CONN_LISTEN}


def test_behind_tunnels_as_documented_nothing_listens_but_on_loopback(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    """Without the tunnels: both ends are this machine, so each port is its own other end."""
    here, web, device = free_ports(3)
    cluster.kill("scheduler")
    change = {"8786": here, "127.0.0.1:8787": f"127.0.0.1:{web}"}
    as_documented(cluster, "scheduler", documented("dask scheduler --host 127.0.0.1"), change)
    cluster.address = f"tcp://127.0.0.1:{here}"
    until(lambda: "Scheduler at" in cluster.log("scheduler").rpartition("Closing")[2], "the scheduler")
    change = {"tcp://127.0.0.1:8786": cluster.address, "tcp://127.0.0.1:9001": f"tcp://127.0.0.1:{device}"}
    as_documented(cluster, "orin-1", documented("dask worker tcp://127.0.0.1:8786"), change)
    cluster.registered("orin-1")
    record = carry_out(plan_of(tmp_path / "run", [spec_of("A", sources)], sources), cluster)
    assert states(record) == [("orin/A", "done", "orin-1")]
    for name in ("scheduler", "orin-1"):
        assert listening(cluster.processes[name].pid) == {"127.0.0.1"}


def test_certificates_as_the_documentation_makes_them_secure_the_way(tmp_path: Path) -> None:
    """The commands of docs/fleet.md are run, with both units, and a client without a certificate gets nothing."""
    commands = DOCS.read_text(encoding="utf-8").split("```sh\n# certificates", 1)[1].split("```", 1)[0]
    made = subprocess.run(["sh", "-e", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    tls = tmp_path / "tls"
    options = [("ca", tls / "ca.pem"), ("cert", tls / "lab.pem"), ("key", tls / "lab.key")]
    here, web = free_ports(2)
    change = {f"tls/{path.name}": str(path) for _, path in options}
    with Cluster(tmp_path) as cluster:
        cluster.kill("scheduler")
        cluster.address = f"tls://127.0.0.1:{here}"
        places = {"tls://0.0.0.0": "tls://127.0.0.1", "8786": here, "127.0.0.1:8787": f"127.0.0.1:{web}"}
        words = documented("ExecStart=/opt/convnextpose/.venv/bin/dask scheduler")
        as_documented(cluster, "scheduler", words, change | places)
        assert documented("dask scheduler --host tls") == words
        words = documented("ExecStart=/opt/convnextpose/.venv/bin/dask worker")
        as_documented(cluster, "orin-1", words, change | {"tls://lab:8786": cluster.address, "%H": "orin-1"})
        cluster.registered("orin-1")
        ours = [word for name, path in options for word in (f"--tls-{name}", path)]
        run = convnextpose("fleet", "devices", "--scheduler", cluster.address, *ours, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        assert "orin-1" in run.stdout
        assert "jetson_orin=1" in run.stdout
        run = convnextpose("fleet", "devices", "--scheduler", cluster.address, cwd=tmp_path)
        assert_three_parts(run, 2)
        plain = cluster.address.replace("tls://", "tcp://")
        assert_three_parts(convnextpose("fleet", "devices", "--scheduler", plain, cwd=tmp_path), 4)


MATRIX = """
name: whole
models:
  - {{model: {folder}, name: one}}
  - {{model: {folder}, name: two}}
precisions: [fp32]
runtimes: [onnxruntime, openvino]
devices:
  - {{name: orin, resource: jetson_orin}}
  - {{name: x86, resource: x86_box}}
bench: {{budget_s: 1, threads: 1}}
out: {out}
"""
WITHOUT_DASK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("dask", "distributed"):
            raise ImportError(f"{name} is not installed")
sys.meta_path.insert(0, Blocked())
from tests import fleet_quick_job
fleet_quick_job.dask_setup(None)
from cli.main import run
run()
"""


def rows(folder: Path) -> dict[str, list[str]]:
    record = read_fleet(folder)
    return {name: [row.id for row in result.rows] for name, result in measured(folder, record).items()}


def test_the_same_matrix_here_and_through_workers_of_which_one_is_killed(demo_export: Path, tmp_path: Path) -> None:
    """Two models, two runtimes, two kinds of device; all of it real, though nothing is measured for long."""
    here, there = tmp_path / "here.yaml", tmp_path / "there.yaml"
    here.write_text(MATRIX.format(folder=demo_export, out="here"))
    there.write_text(MATRIX.format(folder=demo_export, out="there"))
    (tmp_path / "cluster").mkdir()
    with Cluster(tmp_path / "cluster", preload=("--preload", "tests.fleet_quick_job")) as cluster:
        cluster.start_worker("orin-1", ORIN)
        cluster.start_worker("box", X86)

        def kill() -> None:
            until(lambda: list(cluster.device("orin-1").glob("jobs/*/result/bench")), "orin-1 measures")
            cluster.kill("orin-1")
            cluster.start_worker("orin-2", ORIN)

        thread = threading.Thread(target=kill)
        thread.start()
        command = ("fleet", "run", there, "--scheduler", cluster.address)
        first = convnextpose(*command, cwd=tmp_path)
        thread.join()
        assert first.returncode == 0, first.stderr
        assert "orin-1: its worker is gone" in first.stdout
        folder = tmp_path / "there/fleet/whole"
        before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/bench/*")}
        jobs = sorted((tmp_path / "cluster").glob("*/device/jobs/*"))
        second = convnextpose(*command, cwd=tmp_path)
        assert second.returncode == 0, second.stderr
        assert second.stderr.count("up to date") == 4
        assert {path: path.stat().st_mtime_ns for path in folder.glob("*/*/bench/*")} == before
        assert sorted((tmp_path / "cluster").glob("*/device/jobs/*")) == jobs
    for shown in ("orin: speed-up", "x86: speed-up", "worker orin-2; reference", "worker box; reference"):
        assert shown in second.stdout
    status = convnextpose("fleet", "status", folder, cwd=tmp_path)
    assert "whole: 4 jobs, 4 done" in status.stdout
    command_here = [sys.executable, "-c", WITHOUT_DASK, "fleet", "run", str(here)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    local = subprocess.run(
        command_here, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert local.returncode == 0, local.stderr
    assert rows(tmp_path / "here/fleet/whole") == rows(folder)
    assert set(rows(folder)) == {"orin/one", "orin/two", "x86/one", "x86/two"}
    assert {len(names) for names in rows(folder).values()} == {3}
    found = read_measurements(folder, read_fleet(folder))
    assert {(one.device, one.model) for one in found} == {
        (name, of) for name in ("orin", "x86") for of in ("one", "two")
    }
    assert all(len(one.rows) == 3 and one.missing is None for one in found)
