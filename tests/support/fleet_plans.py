"""Runs of a fleet that need no export: each model is a few bytes, which ``tests.support.fleet_fake_job`` measures."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.fleet.blobs import BlobCache
from bench.fleet.plan import FleetPlan
from bench.fleet.record import FleetRecord
from bench.fleet.spec import JobSpec, code_version
from export.common.files import sha256_file
from tests.support.planted_manifest import manifest_of

ORIN, X86 = "jetson_orin", "x86_box"
KINDS = ({"name": "orin", "resource": ORIN}, {"name": "x86", "resource": X86})


def ignore(record: FleetRecord) -> None:
    """Ignore changes of the record."""


def spec_of(model: str, sources: BlobCache, device: str = "orin", resource: str = ORIN, **fields: object) -> JobSpec:
    """Return a job; its model is one file of its own, one that all models share, and a manifest."""
    manifest = manifest_of(model, "checkpoint", ("fp32", "fp16")).model_dump_json().encode()
    contents = {"model.onnx": model.encode(), "truth.npz": b"shared by all models", "manifest.json": manifest}
    files = {name: sha256(content).hexdigest() for name, content in contents.items()}
    for name, content in contents.items():
        assert sources.store(files[name], content)
    defaults = {"device": device, "resource": resource, "model": model, "files": files, "precisions": ("fp32",)}
    return JobSpec.model_validate({**defaults, "runtimes": ("onnxruntime",), "code": code_version(), **fields})


def plan_of(folder: Path, specs: Sequence[JobSpec], sources: BlobCache) -> FleetPlan:
    return FleetPlan("run", folder, {"name": "run"}, tuple(specs), sources)


def write_matrix(place: Path, models: str = "AB", devices: Any = KINDS, **fields: object) -> Path:
    """Write a matrix named spring, with the exports of its models."""
    for model in models:
        write_export(place / "exported" / model, model)
    matrix = {"models": [f"exported/{model}" for model in models], "devices": devices, "runtimes": ["onnxruntime"]}
    (place / "spring.yaml").write_text(json.dumps(matrix | fields))  # JSON is YAML
    return place / "spring.yaml"


def write_export(folder: Path, model: str) -> None:
    """Write what a fleet needs of an exported model, with a few bytes for each large file."""
    manifest = manifest_of(model, "checkpoint", ("fp32",))
    (onnx,) = manifest.artifacts
    for name in (onnx.path, "parity/truth.npz", "weights/weights.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"truth" if "truth" in name else f"{model} {name}".encode())
    artifacts = [onnx.model_copy(update={"sha256": sha256_file(folder / onnx.path)})]
    (folder / "manifest.json").write_text(manifest.model_copy(update={"artifacts": artifacts}).model_dump_json())


def record_of(place: Path) -> dict[str, Any]:
    """Return the record of the run named spring."""
    return dict(json.loads((place / "build/fleet/spring/fleet.json").read_text()))


def jobs_of(place: Path) -> dict[str, dict[str, Any]]:
    """Return the run's jobs by their folders."""
    return {job["folder"]: job for job in record_of(place)["jobs"]}


def states_of(place: Path) -> dict[str, str]:
    return {folder: job["state"] for folder, job in jobs_of(place).items()}
