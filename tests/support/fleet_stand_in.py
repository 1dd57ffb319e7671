"""In place of the process that measures, for tests of what happens around it: quick, and bad in every way asked for.

``STAND_IN`` says how: ``ok``, ``slow SECONDS``, ``crash``, ``crash NAME`` (only with models whose names begin so),
``hang``, ``hang-first`` (before it begins), ``wait`` (for the accelerator, for ever), ``linger`` and ``trip`` (with its
result made, it does not end, or badly), or ``foreign`` (its result is of another model). As a preload of a Dask worker
it replaces ``bench.fleet.job``; with ``STAND_IN_CODE`` it has that version of the code, with ``STAND_IN_NONSENSE``
it answers to a job with that line of JSON, and with ``STAND_IN_FULL_DISK`` it raises at once.
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
COMMAND = (sys.executable, str(ROOT / "tests/support/fleet_stand_in.py"))
PRELOAD = ("--preload", "tests.support.fleet_stand_in")
BEGUN = "begun"
"""A line in this file of the device's folder for each time that something was measured."""


def dask_setup(worker: object) -> None:
    """What Dask calls in a preload."""
    from bench.fleet import child, dask_worker, device

    child.COMMAND = COMMAND
    if code := os.environ.get("STAND_IN_CODE"):
        vars(device)["code_version"] = lambda: code
    if os.environ.get("STAND_IN_FULL_DISK"):
        vars(device)["run_job"] = no_space
    if nonsense := os.environ.get("STAND_IN_NONSENSE"):
        vars(dask_worker)["run_job"] = lambda *_: json.loads(nonsense)


def no_space(*_: object) -> None:
    """Fail at once, as a device whose disk is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def times_measured(state: Path) -> int:
    """On the device whose folder this is."""
    return len((state / BEGUN).read_text().splitlines()) if (state / BEGUN).is_file() else 0


def main(state: Path, folder: Path) -> None:
    """As ``bench.fleet.job`` behaves, or not."""
    how, _, more = os.environ.get("STAND_IN", "ok").partition(" ")
    if how == "hang-first":
        time.sleep(600)
    if how == "wait":
        print(json.dumps({"waits": True, "text": "waiting for the accelerator"}), flush=True)
        time.sleep(600)
    with (state / BEGUN).open("a") as log:
        log.write(f"{folder.name}\n")
    print(json.dumps({"begun": True, "text": "preparing"}), flush=True)
    if how == "crash" and json.loads((folder / "spec.json").read_text())["model"].startswith(more):
        print("something terrible", file=sys.stderr, flush=True)
        os.abort()
    time.sleep({"slow": float(more or 0) if how == "slow" else 0.0, "hang": 600.0}.get(how, 0.0))
    (folder / "result/bench").mkdir(parents=True, exist_ok=True)
    manifest = (state / "blobs" / json.loads((folder / "spec.json").read_text())["files"]["manifest.json"]).read_text()
    (folder / "result/manifest.json").write_text(manifest)
    model = json.loads(manifest)["model"] + ("" if how != "foreign" else "-of-another")
    (folder / "result/bench/result.json").write_text(json.dumps(result(model)))
    print(json.dumps({"engines": []}), flush=True)
    if how == "linger":
        time.sleep(600)
    if how == "trip":
        os.abort()


def result(model: str) -> dict[str, Any]:
    """Of a benchmark without rows, and another one each time."""
    from bench.machine.environment import fingerprint

    host = {"cpu": "A processor", "usable_cores": 2, "machine": "x86_64", "governor": None}
    environment = {"host": host, "gpus": [], "software": {"python": "3.11.2", "libraries": {}}}
    nothing = dict.fromkeys(("stop_reason", "control", "harness_overhead_ns", "peaks_reason", "samples"))
    empty = {name: list[Any]() for name in ("sensors", "rows", "not_run", "peaks")}
    return {
        **nothing,
        **empty,
        "schema_version": "1.1",
        "created": uuid.uuid4().hex,
        "model": model,
        "weights": "checkpoint",
        "complete": True,
        "mode": "quick",
        "protocol": {},
        "precision_reached": True,
        "rounds": 0,
        "environment": environment,
        "fingerprint": fingerprint(environment),
        "reference_id": "pytorch fp32",
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
