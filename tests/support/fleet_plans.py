"""Runs that need no export: what travels are a few bytes, and what measures is ``tests.support.fleet_stand_in``."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from bench.fleet.blobs import BlobCache
from bench.fleet.plan import FleetPlan
from bench.fleet.record import FleetRecord
from bench.fleet.spec import JobSpec, code_version
from tests.support.report_folder import manifest_of

ORIN, X86 = "jetson_orin", "x86_box"
SHARED = b"truth of every model"


def nothing(record: FleetRecord) -> None:
    """Nobody looks."""


def manifest(model: str) -> bytes:
    """What is sent of an export."""
    return (manifest_of(model, "checkpoint", ("fp32", "fp16")).model_dump_json(indent=2) + "\n").encode()


def spec_of(model: str, sources: BlobCache, device: str = "orin", resource: str = ORIN, **more: object) -> JobSpec:
    """A job whose model is one file of its own, one that all have, and a manifest."""
    contents = {"model.onnx": model.encode(), "truth.npz": SHARED, "manifest.json": manifest(model)}
    files = {name: sha256(content).hexdigest() for name, content in contents.items()}
    for name, content in contents.items():
        assert sources.store(files[name], content)
    fields = {"device": device, "resource": resource, "model": model, "files": files, "precisions": ("fp32",)}
    return JobSpec.model_validate({**fields, "runtimes": ("onnxruntime",), "code": code_version(), **more})


def plan_of(folder: Path, specs: Sequence[JobSpec], sources: BlobCache) -> FleetPlan:
    """A run in ``folder``."""
    return FleetPlan("run", folder, {"name": "run"}, tuple(specs), sources)
