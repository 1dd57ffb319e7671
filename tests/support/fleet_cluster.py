"""A Dask cluster: a scheduler and workers in processes of their own, on this machine."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from bench.fleet.address import Scheduler
from bench.fleet.client import run_fleet
from bench.fleet.plan import FleetPlan
from bench.fleet.record import FleetRecord
from tests.support.command_line import ROOT
from tests.support.fleet_fake_job import times_measured

TIMEOUT_S = 60.0
DOCS = ROOT / "docs/how-to/fleet.md"


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition; on a timeout the failure names it."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"timeout: {what}"
        time.sleep(0.05)


class Cluster:
    """Processes of one cluster; every device has a folder of its own."""

    def __init__(self, folder: Path, *, preload: tuple[object, ...] = ()) -> None:
        self.folder, self._preload = folder, preload
        self.address = ""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Cluster":
        self.start_scheduler()
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.processes):
            self.kill(name)

    def start_scheduler(self) -> None:
        """Start it at a port that the system chooses; after a restart, at the same one."""
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        port = self.address.rpartition(":")[2] or "0"
        self.start(
            "scheduler",
            ("distributed.cli.dask_scheduler", "--host", "tcp://127.0.0.1", "--port", port),
            ("--no-dashboard", "--no-show", "--scheduler-file", file),
        )
        until(lambda: file.is_file() and file.stat().st_size, "the scheduler")
        self.address = json.loads(file.read_text())["address"]

    def start_worker(self, name: str, resource: str, **environment: str) -> None:
        """Start a worker with the options of docs/how-to/fleet.md."""
        self.start(
            name,
            ("distributed.cli.dask_worker", self.address, "--no-nanny", "--nthreads", "1", "--memory-limit", "0"),
            ("--no-dashboard", "--name", name, "--resources", f"{resource}=1", "--local-directory", self.folder / name),
            self._preload,
            CONVNEXTPOSE_FLEET=str(self.device(name)),
            TMPDIR=str(self.folder / name),  # locks of its own, as on another machine
            **environment,
        )

    def start_workers(self, *names: str, resource: str, **environment: str) -> None:
        """Start several, and wait until the scheduler knows them."""
        for name in names:
            self.start_worker(name, resource, **environment)
        self.registered(*names)

    def device(self, name: str) -> Path:
        """Return the folder of the device's files and results."""
        return self.folder / name / "device"

    def measurements(self, *names: str) -> int:
        """Return how often these workers have measured."""
        return sum(times_measured(self.device(name)) for name in names)

    def when_measuring(self, name: str, action: Callable[[], object]) -> threading.Thread:
        """Call ``action`` in the background, as soon as that worker has begun with a job."""

        def wait() -> None:
            until(lambda: self.measurements(name), f"{name} measures")
            action()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self, name: str) -> None:
        """Stop a process until ``kill``: it stays connected and does nothing."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def registered(self, *names: str) -> None:
        """Wait until the scheduler knows these workers."""
        until(lambda: all("Registered" in self.log(name) for name in names), f"{', '.join(names)} at the scheduler")

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def start(self, name: str, *parts: tuple[object, ...], **variables: str) -> None:
        """Run a module of Dask with arguments, under this name."""
        (self.folder / name).mkdir(exist_ok=True)
        tuning = self.folder / "dask.yaml"
        tuning.write_text(yaml.safe_dump(documented_tuning()))
        command = [sys.executable, "-m", *(str(word) for part in parts for word in part)]
        environment = {k: os.environ[k] for k in ("PATH", "LANG") if k in os.environ}
        environment |= {"PYTHONPATH": str(ROOT), "HOME": str(self.folder), "DASK_CONFIG": str(tuning)} | variables
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.folder)


def documented_tuning() -> dict[str, object]:
    """Return the tuning of a worker in docs/how-to/fleet.md: tests use what users are told to use."""
    block = DOCS.read_text(encoding="utf-8").split("```yaml\n# worker.yaml", 1)[1].split("```", 1)[0]
    return dict(yaml.safe_load(block))


def run_plan(plan: FleetPlan, cluster: Cluster) -> FleetRecord:
    return run_fleet(plan, Scheduler(cluster.address, wait_s=20), lambda record: None)


def states(record: FleetRecord) -> list[tuple[str, str, str]]:
    """Return name, state and worker of each job."""
    return [(job.spec.name, job.state, job.worker) for job in record.jobs]
