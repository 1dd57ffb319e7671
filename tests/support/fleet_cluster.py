"""A Dask cluster as a team has one: a scheduler and workers in processes of their own, on this machine only."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.support.command_line import ROOT

PATIENCE_S = 60.0
DOCS = ROOT / "docs/how-to/fleet.md"


def until(happened: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for it; a test that waits in vain says for what."""
    deadline = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)


class Cluster:
    """Processes of one cluster; every device has a folder of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        preload: tuple[object, ...] = (),
    ) -> None:
        self.folder, self._preload = folder, preload
        self.address = ""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Cluster":
        self.start_scheduler()
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.processes):
            self.kill(name)

    def start_scheduler(self, **environment: str) -> None:
        """At a port that the system chooses, and again at the same one."""
        said = self.folder / "scheduler.json"
        said.unlink(missing_ok=True)
        port = self.address.rpartition(":")[2] or "0"
        self.start(
            "scheduler",
            ("distributed.cli.dask_scheduler", "--host", "tcp://127.0.0.1", "--port", port),
            ("--no-dashboard", "--no-show", "--scheduler-file", said),
            **environment,
        )
        until(lambda: said.is_file() and said.stat().st_size, "the scheduler")
        self.address = json.loads(said.read_text())["address"]

    def start_worker(self, name: str, resource: str, **environment: str) -> None:
        """As docs/how-to/fleet.md starts one."""
        self.start(
            name,
            ("distributed.cli.dask_worker", self.address, "--no-nanny", "--nthreads", "1", "--memory-limit", "0"),
            ("--no-dashboard", "--name", name, "--resources", f"{resource}=1", "--local-directory", self.folder / name),
            self._preload,
            CONVNEXTPOSE_FLEET=str(self.device(name)),
            TMPDIR=str(self.folder / name),  # locks of its own, as another machine has
            **environment,
        )

    def device(self, name: str) -> Path:
        """Where that device keeps what it needs."""
        return self.folder / name / "device"

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """End it without a word."""
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait()

    def stop(self, name: str) -> None:
        """It is there and does nothing, as a machine that hangs; until ``kill``."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def registered(self, *names: str) -> None:
        """Wait until the scheduler knows these workers."""
        until(lambda: all("Registered" in self.log(name) for name in names), f"{', '.join(names)} at the scheduler")

    def log(self, name: str) -> str:
        """What it has written."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def start(self, name: str, *parts: tuple[object, ...], **more: str) -> None:
        """A module of Dask with its arguments, under this name."""
        (self.folder / name).mkdir(exist_ok=True)
        tuning = self.folder / "dask.yaml"
        tuning.write_text(yaml.safe_dump(tuned()))
        command = [sys.executable, "-m", *(str(word) for part in parts for word in part)]
        keep = {k: os.environ[k] for k in ("PATH", "LANG") if k in os.environ}
        environment = keep | {"PYTHONPATH": str(ROOT), "HOME": str(self.folder), "DASK_CONFIG": str(tuning)}
        environment |= more
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.folder)


def tuned() -> dict[str, object]:
    """The tuning of a worker that docs/how-to/fleet.md gives: tests run with what users are told to use."""
    block = DOCS.read_text(encoding="utf-8").split("```yaml\n# worker.yaml", 1)[1].split("```", 1)[0]
    return dict(yaml.safe_load(block))
