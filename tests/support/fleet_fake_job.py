"""A fake of the measuring process ``bench.fleet.job``: quick, with a failure of the test's choice.

The variable ``FAKE_JOB`` chooses it:

- ``ok``, ``slow SECONDS``
- ``crash``, ``crash NAME``: abort, the latter only for models with names that begin so
- ``hang``, ``hang-first``: hang after and before it begins
- ``linger``, ``abort-late``: hang or abort after the result is written

As a preload of a Dask worker it replaces the measuring process there. ``FAKE_JOB_CODE`` is that worker's version of
the code; ``FAKE_JOB_ANSWER`` is the JSON of its answer to every job; ``FAKE_JOB_DISK_FULL`` makes jobs raise.
"""

import errno
import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, str(ROOT / "tests/support/fleet_fake_job.py"))
PRELOAD = ("--preload", "tests.support.fleet_fake_job")
MEASURED = "measured"
"""File in the device's folder with a line for each measurement."""


def dask_setup(_: object) -> None:
    """Replace the measuring process; Dask calls this in a preload."""
    from bench.fleet import child, device, worker

    child.COMMAND = COMMAND
    if code := os.environ.get("FAKE_JOB_CODE"):
        vars(device)["code_version"] = lambda: code
    if os.environ.get("FAKE_JOB_DISK_FULL"):
        vars(device)["run_job"] = fail_disk_full
    if answer := os.environ.get("FAKE_JOB_ANSWER"):
        vars(worker)["run_job"] = lambda *_: json.loads(answer)


def fail_disk_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def times_measured(state: Path) -> int:
    """Return the number of measurements on the device with this folder."""
    return len((state / MEASURED).read_text().splitlines()) if (state / MEASURED).is_file() else 0


def main(state: Path, folder: Path) -> None:
    """Behave like ``bench.fleet.job``, or as ``FAKE_JOB`` says."""
    behaviour, _, argument = os.environ.get("FAKE_JOB", "ok").partition(" ")
    if behaviour == "hang-first":
        time.sleep(600)
    spec = json.loads((folder / "spec.json").read_text())
    with (state / MEASURED).open("a") as log:
        log.write(f"{folder.name}\n")
    print(json.dumps({"begun": True, "text": "preparing"}), flush=True)
    if behaviour == "crash" and spec["model"].startswith(argument):
        print("something terrible", file=sys.stderr, flush=True)
        os.abort()
    time.sleep({"slow": float(argument or 0) if behaviour == "slow" else 0.0, "hang": 600.0}.get(behaviour, 0.0))
    (folder / "result/bench").mkdir(parents=True, exist_ok=True)
    manifest = (state / "blobs" / spec["files"]["manifest.json"]).read_text()
    (folder / "result/manifest.json").write_text(manifest)
    (folder / "result/bench/result.json").write_text(json.dumps(empty_result(json.loads(manifest)["model"])))
    print(json.dumps({"engines": []}), flush=True)
    if behaviour == "linger":
        time.sleep(600)
    if behaviour == "abort-late":
        os.abort()


def empty_result(model: str) -> dict[str, Any]:
    """Return a benchmark without rows, different each time."""
    from bench.machine.environment import fingerprint

    host = {"cpu": "A processor", "usable_cores": 2, "machine": "x86_64", "governor": None}
    environment = {"host": host, "gpus": [], "software": {"python": "3.11.2", "libraries": {}}}
    absent = dict.fromkeys(("stop_reason", "control", "harness_overhead_ns", "samples"))
    empty = {name: list[Any]() for name in ("sensors", "rows", "not_run")}
    return {
        **absent,
        **empty,
        "schema_version": "1.3",
        "created": uuid.uuid4().hex,
        "model": model,
        "weights": "checkpoint",
        "complete": True,
        "mode": "quick",
        "protocol": {"threads": 1},
        "precision_reached": True,
        "rounds": 0,
        "environment": environment,
        "fingerprint": fingerprint(environment),
        "reference_id": "pytorch fp32",
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
