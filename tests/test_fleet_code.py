"""A device whose code was changed under its worker: nothing is measured by it, and nothing that was is taken."""

import io
import json
import shutil
from pathlib import Path

import pytest

from bench.fleet import child, device, job
from bench.fleet.blobs import BlobCache
from bench.fleet.delivery import deliver
from bench.fleet.executor import ThisMachine
from bench.fleet.spec import Outcome, code_on_disk, code_version
from export import steps
from tests.command_line import ROOT
from tests.fleet_plans import spec_of


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another copy of this project, and a device of its own."""
    place = tmp_path / "checkout"
    for package in ("bench", "export"):
        shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv(device.FOLDER_VARIABLE, str(tmp_path / "device"))
    return place


def update(checkout: Path) -> None:
    """As `git pull` does."""
    with (checkout / "bench/fleet/job.py").open("a") as file:
        file.write("# another commit\n")


def test_a_process_of_other_code_than_its_workers_refuses_the_job(
    checkout: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real process: it runs what lies on the disk."""
    update(checkout)
    monkeypatch.setattr(child, "ROOT", checkout)
    monkeypatch.chdir(tmp_path)
    outcome = deliver(ThisMachine(), spec_of("A", sources), sources, False, lambda text: None).outcome
    assert outcome.state == "failed"
    assert outcome.reason.startswith("this device has another version of this project — code ")
    assert "restart its worker" in outcome.reason


@pytest.mark.parametrize("changed", [False, True])
def test_a_job_under_which_the_code_changes_is_not_done(
    checkout: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    monkeypatch.setattr(steps, "PACKAGES", checkout)
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def measure(*_: object) -> list[str]:
        if changed:
            update(checkout)
        return []

    monkeypatch.setattr(job, "measure", measure)
    (tmp_path / child.SPEC).write_text(spec_of("A", sources).model_dump_json())
    channel = io.StringIO()
    code = job.main(tmp_path / "device", tmp_path, channel)
    said = [json.loads(line) for line in channel.getvalue().splitlines()]
    assert code == (2 if changed else 0)
    assert ("engines" in said[-1], "failed" in said[-1]) == (not changed, changed)


def test_a_worker_that_was_not_restarted_after_an_update_says_so_and_takes_no_job(
    checkout: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = code_version()  # what this process runs, whatever lies on the disk
    monkeypatch.setattr(steps, "PACKAGES", checkout)
    assert json.loads(device.hello([]))["code"] == mine
    update(checkout)
    for asked in (mine, code_on_disk()):  # for a client of the commit before, and one of the commit after
        assert json.loads(device.hello([]))["code"] != asked
        outcome = Outcome.model_validate_json(
            device.run_job(spec_of("A", sources, code=asked).model_dump_json(), False)
        )
        assert (outcome.state, outcome.reason) == ("failed", device.OTHER_CODE)
