"""``manifest.json`` of a bundle: all that a device must know, and the hash of every other file."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from export.bundle.contents import Contents
from export.bundle.goldens import Goldens, budgets_of
from export.common.files import sha256_file
from export.engine.onnx_checks import planned_fp32
from export.engine.plan import EnginePlan
from export.model.joint_sets import joint_set
from export.model.pose import BOX_MARGIN, CUBE_MM, MEAN, PIXEL_RANGE, STD
from export.parity.comparison import NEEDED_SPREAD_MM
from export.pipeline.manifest import ArchitectureRecord, Counts, VerdictRow
from export.runtime import openvino
from export.runtime.openvino import PROBE_CHANNELS, PROBE_VALUE

SCHEMA_VERSION = "1.0"
NAME = "manifest.json"
GOLDEN, PROBE = "golden.npz", f"pose_runtime/runtime/{openvino.PROBE}"

NOTICES = {
    "stand-in": "latency is meaningful, poses are not",
    "demo": "trained on drawn figures: its poses are real, but say nothing about people",
    "checkpoint": None,
}


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Record):
    """One file of the bundle; ``path`` is relative, with ``/``."""

    path: str
    sha256: str
    size_bytes: int


class BundledWeights(_Record):
    """Where the weights came from; ``notice`` says what they are not good for."""

    origin: Literal["checkpoint", "demo", "stand-in"]
    sha256: str
    container: str | None
    epoch: int | None
    notice: str | None


class OnnxFile(File):
    """An ONNX file: input ``image`` float32 (batch, 3, S, S), output ``joints`` float32 (batch, J, 3) in bins."""

    precision: str
    opset: int
    fp32_convolutions: int
    """Number of convolutions that its plan keeps in FP32."""


class EngineFile(File):
    """An engine, with what decides where it can be loaded."""

    precision: str
    runtime: str
    onnx_sha256: str
    package_version: str
    targets: list[str]
    gpu: None = None
    """What is tuned on a GPU stays on its machine: these are compiled ahead of time, for ``targets``."""
    hardware_compatible: bool
    version_compatible: bool
    tf32: bool
    profile: dict[str, list[int]]
    status: str


class GoldenFile(File):
    """The goldens."""

    count: int
    source: str


class BundledLimit(_Record):
    """What a statistic of the goldens' distances may be at most."""

    statistic: Literal["max", "mean", "p99"]
    allowed_mm: float
    reason: str


class BundledBudget(_Record):
    """A precision's budget with its reason, and the limits on the goldens that follow."""

    reason: str
    reference: str
    limits: list[BundledLimit]


class BundleManifest(_Record):
    """The whole file. Without a time or a path of this machine: the same inputs give the same bytes."""

    schema_version: str = SCHEMA_VERSION
    kind: Literal["bundle"] = "bundle"
    model: str
    weights: BundledWeights
    architecture: ArchitectureRecord
    verdict: list[VerdictRow]
    counts: Counts
    preprocessing: dict[str, Any]
    joints: dict[str, Any]
    volume: dict[str, Any]
    onnx: list[OnnxFile]
    engines: list[EngineFile]
    engines_reproducible: Literal[False] = False
    golden: GoldenFile
    int8_probe: dict[str, Any]
    budgets: dict[str, BundledBudget]
    needed_signal_mm: float
    parity_at_home: list[dict[str, Any]]
    """What the export measured on more images than the goldens: one entry a precision."""
    build: dict[str, Any]
    """What engines are built with on the device, where the command line says nothing else."""
    tools: dict[str, str]
    files: list[File]


def describe_bundle(contents: Contents, goldens: Goldens, plan: EnginePlan, folder: Path) -> BundleManifest:
    """The manifest of the bundle in ``folder``, in which all other files lie already."""
    manifest, architecture = contents.manifest, contents.manifest.architecture
    known = joint_set(architecture.joints)
    files = {file.path: file for file in list_files(folder)}
    weights = manifest.weights
    return BundleManifest(
        model=manifest.model,
        weights=BundledWeights(
            origin=weights.origin,
            sha256=weights.sha256,
            container=weights.container,
            epoch=weights.epoch,
            notice=NOTICES[weights.origin],
        ),
        architecture=architecture,
        verdict=manifest.verdict,
        counts=manifest.counts,
        preprocessing={
            "input": "image, float32 (batch, 3, S, S), RGB: (pixel - mean) / std",
            "divided_by_255": False,
            "input_size": architecture.input_size,
            "pixel_range": list(PIXEL_RANGE),
            "mean": list(MEAN),
            "std": list(STD),
            "box_margin": BOX_MARGIN,
        },
        joints={
            "output": "joints, float32 (batch, J, 3): x, y, z in bins",
            "set": known.name,
            "names": list(known.joints),
            "bones": [list(bone) for bone in known.bones],
            "mirror_pairs": [list(pair) for pair in known.mirror_pairs],
        },
        volume={
            "heatmap_size": architecture.heatmap_size,
            "depth_dim": architecture.depth_dim,
            "input_size": architecture.input_size,
            "cube_mm": CUBE_MM,
        },
        onnx=[
            OnnxFile(
                **dict(files[onnx.path]),
                precision=onnx.precision,
                opset=onnx.details["opset"],
                fp32_convolutions=planned_fp32((folder / onnx.path).read_bytes()),
            )
            for onnx in contents.onnx
        ],
        engines=[
            EngineFile(
                **dict(files[engine.artifact.path]),
                precision=engine.artifact.precision,
                runtime=engine.artifact.runtime,
                onnx_sha256=engine.record.onnx_sha256,
                package_version=engine.record.package_version,
                targets=list(engine.record.targets),
                hardware_compatible=engine.record.hardware_compatible,
                version_compatible=engine.record.version_compatible,
                tf32=engine.record.tf32,
                profile={name: list(getattr(engine.record.profile, name)) for name in ("min", "opt", "max")},
                status=engine.record.status,
            )
            for engine in contents.engines
        ],
        golden=GoldenFile(**dict(files[GOLDEN]), count=len(goldens.images), source=goldens.source),
        int8_probe={
            **files[PROBE].model_dump(),
            "shape": [1, PROBE_CHANNELS, 4, 4],
            "input": PROBE_VALUE,
            "output": PROBE_CHANNELS * PROBE_VALUE**2,
        },
        budgets={
            precision: BundledBudget(
                reason=budget.reason,
                reference=budget.reference,
                limits=[
                    BundledLimit(
                        statistic=limit.statistic,
                        allowed_mm=limit.allowed_mm,
                        reason=limit.measured_by.removeprefix(", ") or budget.reason,
                    )
                    for limit in limits
                ],
            )
            for precision, (budget, limits) in budgets_of(contents, goldens).items()
        },
        needed_signal_mm=NEEDED_SPREAD_MM,
        parity_at_home=[_at_home(manifest.parity, onnx.path) for onnx in contents.onnx],
        build={
            "batches": [plan.batch_min, plan.batch_opt, plan.batch_max],
            "workspace_bytes": plan.workspace_bytes,
            "optimization_level": plan.optimization_level,
            "tf32": False,
        },
        tools=manifest.tools,
        files=list(files.values()),
    )


def list_files(folder: Path) -> list[File]:
    """Every file below, in the order of its path, but for the manifest."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [
        File(path=path, sha256=sha256_file(folder / path), size_bytes=(folder / path).stat().st_size)
        for path in paths
        if path != NAME
    ]


def manifest_bytes(manifest: BundleManifest) -> bytes:
    """Canonical: keys sorted, one form of numbers and spaces. Their SHA-256 is the bundle's id."""
    plain = manifest.model_dump(mode="json")
    return (json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def bundle_id(manifest: bytes) -> str:
    """The id of the bundle with this manifest: it changes when any byte of any file does."""
    return hashlib.sha256(manifest).hexdigest()


def _at_home(parity: list[dict[str, Any]], path: str) -> dict[str, Any]:
    """What is worth telling on the device of this file's parity."""
    report = next(report for report in parity if report["artifact"] == path)
    kept = (
        "artifact",
        "precision",
        "images",
        "runtime",
        "outcome",
        "status",
        "reason",
        "candidate",
        "reference",
        "signal",
    )
    return {name: report[name] for name in kept if name in report}
