"""``OUT/MODEL/manifest.json``: the artifacts of an export, their sources, and the results of their checks."""

from pathlib import Path
from typing import Any, Literal

from export.checkpoint.records import ArchitectureRecord, Counts, Finding, NearestModel, VerdictRow
from export.common.files import write_text
from export.common.records import Record, read_record
from export.graph.onnx_record import TensorSpec
from export.pipeline.layout import MANIFEST
from export.pipeline.reports import ParityReport, RangesReport

SCHEMA_VERSION = "1.2"


class Weights(Record):
    """The source of the weights; ``sha256`` is that of the file or folder."""

    origin: Literal["checkpoint", "demo", "stand-in"]
    path: str | None
    sha256: str
    container: str | None
    location: str | None = None
    """Key of the file's dictionary that holds them."""
    epoch: int | None = None
    dtypes: tuple[str, ...] = ()
    other_networks: tuple[str, ...] = ()
    """Keys of other networks in the file."""
    grown_from: str | None = None
    """The model of the demo checkpoint at ``path``, if these weights were grown from it."""


class Artifact(Record):
    """One file to ship."""

    kind: Literal["onnx", "engine"]
    runtime: str
    precision: str
    path: str
    sha256: str
    size_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    targets: tuple[str, ...] = ()
    status: str
    details: dict[str, Any]


class NotRun(Record):
    """An artifact that could not be made here, with the reason. It never counts as passed."""

    kind: str
    precision: str
    status: Literal["not run", "failed"]
    reason: str


class Manifest(Record):
    """The whole file."""

    schema_version: str = SCHEMA_VERSION
    model: str
    weights: Weights
    architecture: ArchitectureRecord
    verdict: tuple[VerdictRow, ...]
    nearest_models: tuple[NearestModel, ...]
    claims: tuple[Finding, ...]
    """Published claims about the declared model, compared with this checkpoint."""
    counts: Counts
    artifacts: list[Artifact]
    not_run: list[NotRun]
    ranges: tuple[RangesReport, ...] = ()
    """The largest values that each half precision has to hold."""
    parity: list[ParityReport]
    tools: dict[str, str]

    def grade_required(self, precision: str) -> str | None:
        """Return the grade of error that parity required of this precision; None if it has no report or no grade."""
        return next((report.budget.grade for report in self.parity if report.precision == precision), None)


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write the manifest, unless the file has this content already; return its path."""
    path = folder / MANIFEST
    text = manifest.model_dump_json(indent=2) + "\n"
    if not path.is_file() or path.read_bytes() != text.encode():
        write_text(path, text)
    return path


def read_manifest(path: Path) -> Manifest:
    """Read a manifest of this schema version.

    Raises:
        BadInput: the file is missing, no manifest, or of another schema version.
    """
    return read_record(path, Manifest, (SCHEMA_VERSION,), "manifest", "run `make export` first")
