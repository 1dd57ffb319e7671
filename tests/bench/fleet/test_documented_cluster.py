"""Test the commands of docs/how-to/fleet.md for tunnels and certificates, with other ports, paths and names."""

import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from bench.fleet.address import Scheduler
from bench.fleet.blobs import BlobCache
from bench.fleet.client import run_fleet
from bench.fleet.cluster import connected
from export.common.errors import BadInput, NotPossible
from tests.support.fleet_cluster import DOCS, Cluster, run_plan, states, until
from tests.support.fleet_fake_job import PRELOAD
from tests.support.fleet_plans import ignore, plan_of, spec_of

pytest.importorskip("distributed")


def documented(after: str) -> list[str]:
    """Return the words of the command in docs/how-to/fleet.md that begins so."""
    line = next(line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.strip().startswith(after))
    return line.strip().removeprefix("ExecStart=/opt/convnextpose/.venv/bin/").split()


def as_documented(cluster: Cluster, name: str, words: list[str], change: dict[str, str]) -> None:
    """Start a documented command, with other ports, paths and names."""
    assert words[0] == "dask"
    program = {"scheduler": "distributed.cli.dask_scheduler", "worker": "distributed.cli.dask_worker"}[words[1]]
    assert set(change) <= set(words)
    own = {"CONVNEXTPOSE_FLEET": str(cluster.device(name)), "TMPDIR": str(cluster.folder / name)}
    preload = PRELOAD if words[1] == "worker" else ()
    cluster.start(name, (program, *(change.get(word, word) for word in words[2:])), preload, **own)


def free_ports(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(server.getsockname()[1]) for server in sockets]
    for server in sockets:
        server.close()
    return ports


def listening(process: int) -> set[str]:
    return {c.laddr.ip for c in psutil.Process(process).net_connections("tcp") if c.status == psutil.CONN_LISTEN}


def test_documented_tunnels_listen_on_loopback_only(cluster: Cluster, sources: BlobCache, tmp_path: Path) -> None:
    """Leave out the tunnels: both ends are this machine."""
    here, web, device = free_ports(3)
    cluster.kill("scheduler")
    change = {"8786": here, "127.0.0.1:8787": f"127.0.0.1:{web}"}
    as_documented(cluster, "scheduler", documented("dask scheduler --host 127.0.0.1"), change)
    cluster.address = f"tcp://127.0.0.1:{here}"
    until(lambda: "Scheduler at" in cluster.log("scheduler").rpartition("Closing")[2], "the scheduler")
    change = {"tcp://127.0.0.1:8786": cluster.address, "tcp://127.0.0.1:9001": f"tcp://127.0.0.1:{device}"}
    as_documented(cluster, "orin-1", documented("dask worker tcp://127.0.0.1:8786"), change)
    cluster.registered("orin-1")
    record = run_plan(plan_of(tmp_path / "run", [spec_of("A", sources)], sources), cluster)
    assert states(record) == [("orin/A", "done", "orin-1")]
    for name in ("scheduler", "orin-1"):
        assert listening(cluster.processes[name].pid) == {"127.0.0.1"}


def test_documented_certificates_are_required(
    sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of the fleet page run, with both units; a client without a certificate gets nothing."""
    monkeypatch.setenv("DASK_CONFIG", str(tmp_path))
    commands = DOCS.read_text(encoding="utf-8").split("```sh\n# certificates", 1)[1].split("```", 1)[0]
    made = subprocess.run(["sh", "-e", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    tls = tmp_path / "tls"
    files = (tls / "ca.pem", tls / "lab.pem", tls / "lab.key")
    here, web = free_ports(2)
    change = {f"tls/{path.name}": str(path) for path in files}
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
        ours = Scheduler(cluster.address, *files)
        plan = plan_of(tmp_path / "run", [spec_of("A", sources)], sources)
        assert states(run_fleet(plan, ours, ignore)) == [("orin/A", "done", "orin-1")]
        with pytest.raises(BadInput, match="needs certificates"), connected(Scheduler(cluster.address)):
            pass
        plain = Scheduler(cluster.address.replace("tls://", "tcp://"))
        with pytest.raises(NotPossible, match="no scheduler answers"), connected(plain):
            pass
