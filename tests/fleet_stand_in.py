"""In place of the process that measures, for tests of what happens around it: quick, and bad in every way asked for.

``STAND_IN`` says how: ``ok``, ``slow SECONDS``, ``crash`` or ``hang``. As a preload of a Dask worker it puts
itself in the place of ``bench.fleet.job``; with ``STAND_IN_CODE`` the worker says that it has that version of the code.
"""

import json
import os
import sys
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, str(ROOT / "tests/fleet_stand_in.py"))
BEGUN = "begun"
"""A line in this file of the device's folder for each time that something was measured."""


def dask_setup(worker: object) -> None:
    """What Dask calls in a preload."""
    from bench.fleet import child, device

    child.COMMAND = COMMAND
    if code := os.environ.get("STAND_IN_CODE"):
        vars(device)["code_version"] = lambda: code


def main(state: Path, folder: Path) -> None:
    """As ``bench.fleet.job`` behaves, or not."""
    how, _, seconds = os.environ.get("STAND_IN", "ok").partition(" ")
    with (state / BEGUN).open("a") as log:
        log.write(f"{folder.name}\n")
    print(json.dumps({"begun": True, "text": "preparing"}), flush=True)
    if how == "crash":
        print("something terrible", file=sys.stderr, flush=True)
        os.abort()
    time.sleep({"slow": float(seconds or 0), "hang": 600.0}.get(how, 0.0))
    (folder / "result/bench").mkdir(parents=True, exist_ok=True)
    (folder / "result/manifest.json").write_text("{}")
    (folder / "result/bench/result.json").write_text(uuid.uuid4().hex)
    print(json.dumps({"engines": []}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
