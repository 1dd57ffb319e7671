"""One accelerator is measured by one benchmark at a time, whoever asks."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bench.fleet import child, device
from bench.fleet.blobs import BlobCache
from bench.fleet.child import COMMAND as REAL
from bench.fleet.delivery import deliver
from bench.fleet.executor import ThisMachine
from bench.fleet.job import accelerators, accelerators_held
from bench.fleet.locks import held, machine_folder
from export.errors import NotPossible
from tests.command_line import ROOT
from tests.fleet_plans import spec_of


def test_one_accelerator_is_measured_by_one_job_at_a_time(tmp_path: Path, sources: BlobCache) -> None:
    spec, said = spec_of("A", sources), list[dict[str, object]]()
    assert accelerators(spec) == ["cpu"]
    code = (
        "import sys, time; from pathlib import Path; from bench.fleet.locks import held\n"
        "with held(Path(sys.argv[1]), print): print('held', flush=True); time.sleep(0.5)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "cpu.lock")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with accelerators_held(tmp_path, spec, lambda **what: said.append(what)):
            assert other.wait() == 0  # it had let go
    assert said == [{"waits": True, "text": "waiting for the accelerator: another job is measured on cpu"}]


def test_workers_with_state_folders_of_their_own_share_the_machines_locks(
    state: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real process waits for whoever measures on this machine, wherever that keeps its results."""
    monkeypatch.setattr(child, "COMMAND", REAL)
    spec, heard = spec_of("A", sources, deadline_s=1), list[str]()
    monkeypatch.setattr(child, "MOST_BEFORE", 0.5)
    for name in ("one", "two"):
        monkeypatch.setenv(device.FOLDER_VARIABLE, str(tmp_path / name))
        with held(machine_folder() / "cpu.lock", lambda: None):
            outcome = deliver(ThisMachine(), spec, sources, False, heard.append).outcome
        assert outcome.reason.startswith("it waited for the accelerator, which was not free within 0.5 s")
    assert heard.count("waiting for the accelerator: another job is measured on cpu") == 2


def test_a_folder_of_locks_that_is_another_users_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "getuid"):
        pytest.skip("this system has no numbers of users")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(NotPossible, match="convnextpose-4711"):
        machine_folder()
