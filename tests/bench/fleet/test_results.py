"""Test that a result replaces an earlier one completely or not at all."""

import errno
from hashlib import sha256
from pathlib import Path

import pytest

from bench.fleet.blobs import BlobCache
from bench.fleet.record import JobRecord, read_finished
from bench.fleet.run import write_result
from bench.fleet.spec import Outcome
from tests.support.fleet_plans import spec_of


def test_earlier_result_stays_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of("A", BlobCache(tmp_path / "blobs"))
    job, run = JobRecord(spec=spec, folder="orin/A", state="running"), tmp_path / "run"

    def write(content: bytes) -> None:
        files = {"manifest.json": sha256(content).hexdigest()}
        outcome = Outcome.model_validate({"job": spec.id, "state": "done", "files": files})
        write_result(run, job, outcome, {"manifest.json": content})

    def fail_for_the_new_one(source: Path, target: Path) -> Path:
        if source.name == "new":
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(source, target)

    write(b"first")
    rename = Path.rename
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fail_for_the_new_one)
        with pytest.raises(OSError, match="No space left"):
            write(b"second")
    assert read_finished(run / "orin/A", spec.id) is not None
    assert (run / "orin/A/manifest.json").read_bytes() == b"first"
    write(b"second")
    assert (run / "orin/A/manifest.json").read_bytes() == b"second"
    assert [path.name for path in (run / "orin").iterdir()] == ["A"]
