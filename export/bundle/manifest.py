"""``manifest.json`` of a bundle: facts that a device needs, and the hash of every other file."""

import hashlib
import json
from pathlib import Path
from typing import Literal

from export.bundle.contents import Contents
from export.bundle.goldens import GOLDEN, Budgets, Goldens
from export.checkpoint.records import ArchitectureRecord, Counts, VerdictRow
from export.common.files import sha256_file
from export.common.plain import printable_texts
from export.common.records import Record
from export.engine.onnx_checks import planned_fp32
from export.engine.plan import EnginePlan
from export.model.joint_sets import joint_set
from export.parity.budgets import Budget
from export.parity.comparison import NEEDED_SPREAD_MM, Limit
from export.runtime.pose import BOX_MARGIN, MEAN, PIXEL_RANGE, STD, Volume

SCHEMA_VERSION = "1.2"
"""1.1 also had engines, and summaries of the export's parity."""
NAME = "manifest.json"

NOTICES = {
    "stand-in": "latency is meaningful, poses are not",
    "demo": "trained on drawn figures: its poses are real, but say nothing about people",
    "checkpoint": None,
}


class File(Record):
    """One file of the bundle; ``path`` is relative, with ``/``."""

    path: str
    sha256: str
    size_bytes: int


class BundledWeights(Record):
    """Origin of the weights; ``notice`` says what they are not good for."""

    origin: Literal["checkpoint", "demo", "stand-in"]
    sha256: str
    container: str | None
    epoch: int | None
    notice: str | None


class Preprocessing(Record):
    """Input of the network, for programs without this bundle's runtime."""

    input: str = "image, float32 (batch, 3, S, S), RGB: (pixel - mean) / std"
    divided_by_255: Literal[False] = False
    input_size: int
    pixel_range: tuple[int, int] = PIXEL_RANGE
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    box_margin: float = BOX_MARGIN


class Joints(Record):
    """Output of the network; bones and mirror pairs are indices of ``names``."""

    output: str = "joints, float32 (batch, J, 3): x, y, z in bins"
    set: str
    names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    mirror_pairs: tuple[tuple[int, int], ...]


class OnnxFile(File):
    """An ONNX file: input ``image`` float32 (batch, 3, S, S), output ``joints`` float32 (batch, J, 3) in bins."""

    precision: str
    opset: int
    fp32_convolutions: int
    """Number of convolutions that its plan keeps in FP32."""


class GoldenFile(File):
    """The goldens."""

    count: int
    source: str


class BundledLimit(Record):
    """The largest allowed value of a statistic of the goldens' errors."""

    statistic: Literal["max", "mean", "p99"]
    allowed_mm: float
    reason: str


class BundledBudget(Record):
    """A precision's budget with its reason, and the limits on the goldens that follow."""

    reason: str
    reference: str
    limits: tuple[BundledLimit, ...]


class BuildSettings(Record):
    """Settings of engines that are built on the device, unless its command line has others."""

    batches: tuple[int, int, int]
    workspace_bytes: int
    optimization_level: int
    tf32: Literal[False] = False


class BundleManifest(Record):
    """The whole file. It has no time and no path of this machine: the same inputs give the same bytes."""

    schema_version: str = SCHEMA_VERSION
    kind: Literal["bundle"] = "bundle"
    model: str
    weights: BundledWeights
    architecture: ArchitectureRecord
    verdict: tuple[VerdictRow, ...]
    counts: Counts
    preprocessing: Preprocessing
    joints: Joints
    volume: Volume
    onnx: list[OnnxFile]
    golden: GoldenFile
    budgets: dict[str, BundledBudget]
    needed_signal_mm: float = NEEDED_SPREAD_MM
    build: BuildSettings
    tools: dict[str, str]
    files: list[File]


def describe_bundle(
    contents: Contents, goldens: Goldens, budgets: Budgets, plan: EnginePlan, folder: Path
) -> BundleManifest:
    """Return the manifest of the bundle in ``folder``, which holds all other files already."""
    export, architecture = contents.manifest, contents.manifest.architecture
    joints = joint_set(architecture.joints)
    files = {file.path: file for file in list_files(folder)}
    weights = export.weights.model_dump(include={"origin", "sha256", "container", "epoch"})
    return BundleManifest(
        model=export.model,
        weights=BundledWeights(**weights, notice=NOTICES[export.weights.origin]),
        architecture=architecture,
        verdict=export.verdict,
        counts=export.counts,
        preprocessing=Preprocessing(input_size=architecture.input_size),
        joints=Joints(set=joints.name, names=joints.joints, bones=joints.bones, mirror_pairs=joints.mirror_pairs),
        volume=Volume.from_architecture(architecture),
        onnx=[
            OnnxFile(
                **dict(files[onnx.path]),
                precision=onnx.precision,
                opset=onnx.details["opset"],
                fp32_convolutions=planned_fp32((folder / onnx.path).read_bytes()),
            )
            for onnx in contents.onnx
        ],
        golden=GoldenFile(**dict(files[GOLDEN]), count=len(goldens.images), source=goldens.source),
        budgets={precision: _budget(*budget) for precision, budget in budgets.items()},
        build=BuildSettings(
            batches=(plan.batch_min, plan.batch_opt, plan.batch_max),
            workspace_bytes=plan.workspace_bytes,
            optimization_level=plan.optimization_level,
        ),
        tools=export.tools,
        files=list(files.values()),
    )


def list_files(folder: Path) -> list[File]:
    """List every file below, in the order of its path, except the manifest."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [
        File(path=path, sha256=sha256_file(folder / path), size_bytes=(folder / path).stat().st_size)
        for path in paths
        if path != NAME
    ]


def manifest_bytes(manifest: BundleManifest) -> bytes:
    """Return canonical JSON: keys sorted, one form of numbers and spaces. Its SHA-256 is the bundle's id."""
    plain = printable_texts(manifest.model_dump(mode="json"))
    return (json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def bundle_id(manifest: bytes) -> str:
    """Return the id of the bundle with this manifest, which changes with any byte of any file."""
    return hashlib.sha256(manifest).hexdigest()


def _budget(budget: Budget, limits: tuple[Limit, ...]) -> BundledBudget:
    bundled = [
        BundledLimit(
            statistic=limit.statistic,
            allowed_mm=limit.allowed_mm,
            reason=limit.measured_by.removeprefix(", ") or budget.reason,
        )
        for limit in limits
    ]
    return BundledBudget(reason=budget.reason, reference=budget.reference, limits=tuple(bundled))
