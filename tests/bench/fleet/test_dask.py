"""What Dask does for the fleet, and what the client makes of it: through processes of a cluster of our own."""

import socket
import subprocess
import threading
from pathlib import Path

import psutil
import pytest

from bench.fleet import dask_client
from bench.fleet.address import Scheduler
from bench.fleet.blobs import BlobCache
from bench.fleet.dask_client import connected
from bench.fleet.dask_workers import survey
from export.common.errors import BadInput, NotPossible
from tests.support.command_line import assert_three_parts, convnextpose
from tests.support.fleet_cluster import DOCS, Cluster, until
from tests.support.fleet_plans import ORIN, plan_of, spec_of
from tests.support.fleet_runs import carry_out, states
from tests.support.fleet_stand_in import PRELOAD, times_measured

pytest.importorskip("distributed")


def measures(cluster: Cluster, name: str) -> bool:
    return times_measured(cluster.device(name)) > 0


def test_a_worker_that_hangs_loses_its_job_after_its_time_to_live(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    cluster.kill("scheduler")
    cluster.start_scheduler(DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="2s")
    cluster.start_worker("orin-1", ORIN, STAND_IN="slow 60")
    cluster.registered("orin-1")

    def hang() -> None:
        until(lambda: measures(cluster, "orin-1"), "orin-1 measures")
        cluster.stop("orin-1")
        cluster.start_worker("orin-2", ORIN)

    threading.Thread(target=hang, daemon=True).start()
    record = carry_out(plan_of(tmp_path / "run", [spec_of("A", sources)], sources), cluster)
    assert states(record) == [("orin/A", "done", "orin-2")]
    assert record.jobs[0].outcome is not None
    assert record.jobs[0].outcome.troubles == ("orin-1: its worker is gone",)
    assert {device.worker: device.state for device in record.devices} == {"orin-1": "gone", "orin-2": "ready"}


def test_a_worker_that_hangs_from_the_beginning_gets_no_job(
    cluster: Cluster, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_client, "ANSWER_S", 1.0)
    for name in ("orin-1", "orin-2"):
        cluster.start_worker(name, ORIN)
    cluster.registered("orin-1", "orin-2")
    cluster.stop("orin-1")
    record = carry_out(plan_of(tmp_path / "run", [spec_of(model, sources) for model in "AB"], sources), cluster)
    assert states(record) == [("orin/A", "done", "orin-2"), ("orin/B", "done", "orin-2")]
    found, silent = survey(Scheduler(cluster.address))
    assert ([facts.worker for facts in found], silent) == (["orin-2"], ["orin-1: it did not answer within 1 s"])


@pytest.mark.parametrize("answer", ["null", '{"outcome": {}}', '{"files": {"../../elsewhere": ""}}'])
def test_an_answer_of_another_form_is_a_failed_job(
    cluster: Cluster, sources: BlobCache, tmp_path: Path, answer: str
) -> None:
    """One pydantic model is the whole check of answers: a worker is trusted, though it may be broken."""
    cluster.start_worker("orin-1", ORIN, STAND_IN_NONSENSE=answer)
    record = carry_out(plan_of(tmp_path / "run", [spec_of("A", sources)], sources), cluster)
    assert record.jobs[0].state == "failed"
    assert record.jobs[0].outcome is not None
    assert "its answer has another form" in record.jobs[0].outcome.reason


def test_a_scheduler_that_goes_ends_the_run_and_what_was_done_is_kept(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    cluster.start_worker("orin-1", ORIN, STAND_IN="slow 1")
    plan = plan_of(tmp_path / "run", [spec_of(model, sources) for model in "AB"], sources)

    def kill() -> None:
        until(lambda: times_measured(cluster.device("orin-1")) == 2, "the second job")
        cluster.kill("scheduler")
        cluster.kill("orin-1")

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(NotPossible, match="the scheduler is gone"):
        carry_out(plan, cluster)
    cluster.start_scheduler()
    cluster.start_worker("orin-1", ORIN)
    assert {state for _, state, _ in states(carry_out(plan, cluster))} == {"done"}
    assert times_measured(cluster.device("orin-1")) == 3  # two jobs, one of them twice


def test_a_model_that_fails_everywhere_has_failed_and_others_go_on(
    cluster: Cluster, sources: BlobCache, tmp_path: Path
) -> None:
    for name in ("orin-1", "orin-2"):
        cluster.start_worker(name, ORIN, STAND_IN="crash bad")
    cluster.registered("orin-1", "orin-2")
    record = carry_out(plan_of(tmp_path / "run", [spec_of(m, sources) for m in ("bad", "good")], sources), cluster)
    assert [job.state for job in record.jobs] == ["failed", "done"]
    assert times_measured(cluster.device("orin-1")) + times_measured(cluster.device("orin-2")) == 3


@pytest.mark.parametrize(
    ("broken", "reason"),
    [({"STAND_IN_FULL_DISK": "1"}, "No space left on device"), ({"STAND_IN": "foreign"}, "in the manifest")],
)
def test_a_job_that_fails_at_once_or_with_a_wrong_result_is_tried_on_another_device(
    cluster: Cluster, sources: BlobCache, tmp_path: Path, broken: dict[str, str], reason: str
) -> None:
    cluster.start_worker("orin-1", ORIN, **broken)
    cluster.start_worker("orin-2", ORIN)
    cluster.registered("orin-1", "orin-2")
    record = carry_out(plan_of(tmp_path / "run", [spec_of(model, sources) for model in "AB"], sources), cluster)
    assert {(state, worker) for _, state, worker in states(record)} == {("done", "orin-2")}
    troubles = [trouble for job in record.jobs if job.outcome for trouble in job.outcome.troubles]
    assert any(trouble.startswith("orin-1: ") and reason in trouble for trouble in troubles)


def test_a_file_that_is_gone_here_fails_its_job(cluster: Cluster, sources: BlobCache, tmp_path: Path) -> None:
    cluster.start_worker("orin-1", ORIN)
    specs = [spec_of(model, sources) for model in "ABC"]
    sources.path(specs[0].files["model.onnx"]).unlink()
    sources.path(specs[1].files["model.onnx"]).write_bytes(b"changed")
    record = carry_out(plan_of(tmp_path / "run", specs, sources), cluster)
    assert [job.state for job in record.jobs] == ["failed", "failed", "done"]
    reasons = [job.outcome.reason for job in record.jobs if job.outcome]
    assert "model.onnx cannot be had any more" in reasons[0]
    assert "model.onnx was changed since" in reasons[1]


def test_what_a_connection_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_CONFIG", str(tmp_path))
    monkeypatch.setattr(dask_client, "CONNECT_S", 0.5)
    with pytest.raises(BadInput, match="needs certificates"), connected(Scheduler("tls://127.0.0.1:1")):
        pass
    with pytest.raises(NotPossible, match="no scheduler answers"), connected(Scheduler("tcp://127.0.0.1:1")):
        pass
    monkeypatch.setattr(dask_client, "find_spec", lambda name: None)
    with pytest.raises(NotPossible, match="distributed is not installed"), connected(Scheduler("tcp://127.0.0.1:1")):
        pass


def documented(after: str) -> list[str]:
    """The words of the command in docs/how-to/fleet.md that begins so."""
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
    """The commands of the fleet page run, with both units; a client without a certificate gets nothing."""
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
