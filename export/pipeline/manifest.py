"""``OUT/MODEL/manifest.json``: what lies in the folder, what it was made from, and how it was judged."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from export.common.files import write_text
from export.common.records import read_record
from export.pipeline.steps import WHOLE

SCHEMA_VERSION = "1.2"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Weights(_Record):
    """Where the weights came from; ``sha256`` is of the file, or of the whole folder, as it was found."""

    origin: Literal["checkpoint", "demo", "stand-in"]
    path: str | None
    sha256: str
    container: str | None
    location: str | None = None
    """The key of the file's dictionary under which they lay."""
    epoch: int | None = None
    dtypes: list[str] = []
    grown_from: str | None = None
    """The model whose demo checkpoint lies at ``path``, if these weights were grown from it."""


class ArchitectureRecord(_Record):
    """The network that was exported."""

    depths: list[int]
    dims: list[int]
    head_channels: list[int]
    head_kernels: list[int]
    joints: int
    depth_dim: int
    upsamplings: int
    input_size: int
    heatmap_size: int


class VerdictRow(_Record):
    """One field of the architecture: what was declared, what the weights show, what is used and why."""

    field: str
    declared: Any
    found: Any
    used: Any
    source: str
    why: str
    agrees: bool


class Nearest(_Record):
    """A declared model near to what was found, and the fields in which it differs."""

    model: str
    differs_in: list[str]


class Counts(_Record):
    """Exact counts; multiply-accumulates for one image, without the decode."""

    parameters: int
    state_elements: int
    macs: int


class Tensor(_Record):
    """An input or an output; a free dimension goes by its name."""

    name: str
    dtype: str
    shape: list[int | str]


class Artifact(_Record):
    """One file to ship."""

    kind: Literal["onnx", "engine"]
    runtime: str
    precision: str
    path: str
    sha256: str
    size_bytes: int
    inputs: list[Tensor]
    outputs: list[Tensor]
    targets: list[str] = []
    status: str
    details: dict[str, Any]


class NotRun(_Record):
    """What this machine could not do, and why. It is never counted as passed."""

    kind: str
    precision: str
    status: Literal["not run", "failed"]
    reason: str


class Manifest(_Record):
    """The whole file."""

    schema_version: str = SCHEMA_VERSION
    model: str
    weights: Weights
    architecture: ArchitectureRecord
    verdict: list[VerdictRow]
    nearest_models: list[Nearest]
    claims: list[dict[str, Any]]
    """What the sources claim of the declared model, checked against this checkpoint."""
    counts: Counts
    artifacts: list[Artifact]
    not_run: list[NotRun]
    ranges: list[dict[str, Any]] = []
    """The largest values that each half precision has to hold, and that precision's limit."""
    parity: list[dict[str, Any]]
    tools: dict[str, str]

    def grade_required(self, precision: str) -> str | None:
        """Return the grade of error that parity asked of this precision; None if it has no report or no grade."""
        budgets = (report["budget"] for report in self.parity if report["precision"] == precision)
        return next((budget["grade"] for budget in budgets), None)


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write it, if it says anything new; returns its path."""
    path = folder / WHOLE
    text = manifest.model_dump_json(indent=2) + "\n"
    if not path.is_file() or path.read_bytes() != text.encode():
        write_text(path, text)
    return path


def read_manifest(path: Path) -> Manifest:
    """Read a manifest of this schema version.

    Raises:
        BadInput: missing, not a manifest, or of another schema version.
    """
    return read_record(path, Manifest, (SCHEMA_VERSION,), "manifest", "run `make export` first")
