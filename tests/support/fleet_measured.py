"""A fleet's run whose results are assembled by the real code from scripted rounds: what devices are is planted here.

As a program it stands in for the process that measures (``bench.fleet.job``), in a run of the real executor.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.fleet import child, device
from bench.fleet.blobs import BlobCache
from bench.fleet.client import run_fleet
from bench.fleet.record import DeviceRecord, FleetRecord, read_fleet, write_fleet
from bench.fleet.spec import JobSpec
from bench.harness.candidates import HOW_TO_MEASURE
from bench.machine.environment import fingerprint
from bench.results.result import NotRunRow
from tests.support.fleet_plans import ORIN, X86, ignore, plan_of, spec_of
from tests.support.planted_bench import Planted
from tests.support.report_folder import write_folder

COMMAND = (sys.executable, "-m", "tests.support.fleet_measured")
NO_GPU = "there is no NVIDIA driver"
NO_OPENVINO = "openvino is not installed"
NOT_ASKED = ("pytorch-compile", f"left out; {HOW_TO_MEASURE}")
FAILED = "out of memory while the engine was built"
ORIN_GPU = {"name": "Orin", "driver": "540.4.0", "power_limit_w": None}

ON_ORIN = (
    Planted("onnxruntime", "fp32", 31.0),
    Planted("tensorrt", "fp32", 9.0),
    Planted("tensorrt", "fp16", 4.5),
)
ON_BOX = (
    Planted("onnxruntime", "fp32", 8.0),
    Planted("onnxruntime", "fp16", 9.0, computes="fp32"),
    Planted("openvino", "fp32", 6.0, noise=0.3),
    Planted("openvino", "fp16", 6.1, computes="fp32"),
)


def planted(spec: JobSpec) -> tuple[tuple[Planted, ...], dict[str, Any]]:
    """What this device is to have measured: its rows, and what else differs in its result."""
    orin = spec.device.startswith("orin")
    host: dict[str, Any] = {
        "cpu": "Cortex-A78AE" if orin else "A processor",
        "usable_cores": 6 if orin else 2,
        "memory_mib": 8000,
    }
    host |= {"machine": "aarch64" if orin else "x86_64", "governor": None, "system": "Linux", "virtual": False}
    libraries = {"torch": "2.13.0", "onnxruntime": "1.31.1", **({"tensorrt": "10.3.0"} if orin else {})}
    software = {"python": "3.11.2" if orin else "3.12.1", "libraries": libraries}
    environment = {"host": host, "gpus": [ORIN_GPU] if orin else [], "software": software}
    missing = ("openvino", NO_OPENVINO) if orin else ("tensorrt", NO_GPU)
    changes = {
        "environment": environment,
        "fingerprint": fingerprint(environment),
        "not_run": [NotRunRow(runtime=of, precision=None, reason=why) for of, why in (missing, NOT_ASKED)],
        "reference_ms": 40.0 if orin else 20.0,
    }
    return ON_ORIN if orin else ON_BOX, changes


def main(folder: Path) -> None:
    """Leave what a measurement leaves; a large model on the box fails."""
    spec = JobSpec.model_validate_json((folder / child.SPEC).read_bytes())
    print(json.dumps({"begun": True, "text": "preparing"}), flush=True)
    if (spec.device, spec.model) == ("box", "L"):
        print(json.dumps({"failed": FAILED}), flush=True)
        sys.exit(1)
    rows, changes = planted(spec)
    write_folder(folder / child.RESULT, rows, model=spec.model, evaluated=False, extras=False, rounds=24, **changes)
    (folder / child.RESULT / "latency.json").unlink()
    print(json.dumps({"engines": []}), flush=True)


@contextmanager
def planted_devices(state: Path) -> Iterator[None]:
    """This machine's state folder is ``state``, and what measures is this file."""
    before, command = os.environ.get(device.FOLDER_VARIABLE), child.COMMAND
    os.environ[device.FOLDER_VARIABLE], child.COMMAND = str(state), COMMAND
    try:
        yield
    finally:
        child.COMMAND = command
        del os.environ[device.FOLDER_VARIABLE]
        if before is not None:
            os.environ[device.FOLDER_VARIABLE] = before


def write_run(
    folder: Path, devices: Sequence[str] = ("orin", "box"), models: Sequence[str] = ("S", "L")
) -> FleetRecord:
    """A run in ``folder``, carried out here; the name says what a device is: an orin or something else."""
    sources = BlobCache(folder.parent / "blobs")
    kinds = {name: ORIN if name.startswith("orin") else X86 for name in devices}
    specs = [spec_of(model, sources, name, kind) for model in models for name, kind in kinds.items()]
    with planted_devices(folder.parent / "device"):
        return run_fleet(plan_of(folder, specs, sources), None, ignore)


def with_idle_devices(folder: Path) -> None:
    """Add two devices that got no work: of other code, and gone."""
    plain = {"kinds": ["orin"], "machine": "m", "fingerprint": "f"}
    idle = [
        DeviceRecord.model_validate({**plain, "worker": "orin-old", "state": "refused", "reason": device.OTHER_CODE}),
        DeviceRecord.model_validate({**plain, "worker": "orin-hot", "state": "gone", "reason": "not connected"}),
    ]
    record = read_fleet(folder)
    write_fleet(folder, record.model_copy(update={"devices": [*record.devices, *idle]}))


if __name__ == "__main__":
    main(Path(sys.argv[2]))
