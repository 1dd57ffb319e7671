"""Records of engines: what was built, from what and by which library."""

from dataclasses import dataclass
from pathlib import Path

from export.common.errors import CheckFailed
from export.common.records import read_record
from export.engine.layers import EngineLayers
from export.runtime.engine_network import Convolutions
from export.runtime.gpu import Gpu

SCHEMA_VERSION = 7
READABLE = (5, 6, SCHEMA_VERSION)
"""Earlier ones also had a folder of kernel timings, and 5 sizes of memory from the builder's log."""


@dataclass(frozen=True)
class Profile:
    """Range of shapes of the one input that an engine accepts, NCHW."""

    input: str
    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


@dataclass(frozen=True)
class BuildResult:
    """The part of the record that the builder process finds out."""

    package_version: str
    """Version that the library reports."""
    precision: str
    layer_types: dict[str, dict[str, int]]
    """Kind of layer → type of its output → number of layers, in the network that the builder was given."""
    convolutions: Convolutions
    """Numbers of convolutions of that network."""
    inspected: EngineLayers | None
    """Layers of the engine, from its inspector; None: it was not inspected."""
    tf32: bool
    """Read back from the builder. On, multiplications of FP32 tensors keep 10 bits of mantissa."""
    profile: Profile
    build_seconds: float
    size_bytes: int
    """Code, graph and weights: no measure of how well the weights compress."""
    onnx_sha256: str


@dataclass(frozen=True)
class EngineRecord(BuildResult):
    """An engine: its source, settings, library, GPU and proven types."""

    schema_version: int
    status: str
    not_run: str
    """The reason if it has not run."""
    runtime: str
    chosen: str
    """The reason for this library."""
    built_on: str
    gpu: Gpu | None
    """The GPU that the builder tuned on; None: compiled ahead of time, for ``targets``."""
    targets: tuple[str, ...]
    not_inspected: str
    """The reason if there is no proof from the inspector; empty where it gave the types of layers."""
    workspace_bytes: int
    optimization_level: int
    hardware_compatible: bool
    version_compatible: bool
    warnings: tuple[str, ...]
    engine_sha256: str
    plan_version: str


def read_engine_record(path: Path) -> EngineRecord:
    """Read ``<engine>.json``, the record of an engine.

    Raises:
        BadInput: unreadable, another ``schema_version``, or fields missing or of another type.
    """
    return read_record(path, EngineRecord, READABLE, "engine record", "build the engine again", strict=True)


def beside(engine_path: Path, suffix: str) -> Path:
    """Return the path of a file that accompanies an engine: the engine's whole name, then ``suffix``."""
    return engine_path.with_name(engine_path.name + suffix)


def require_planned(record: EngineRecord, quantized: int) -> None:
    """Check that as many convolutions are in int8 as were planned.

    Raises:
        CheckFailed: more, or fewer.
    """
    if record.convolutions.int8 != quantized:
        numbers = f"{record.convolutions.int8} of {record.convolutions.total} convolutions in int8"
        raise CheckFailed(
            "an engine's network differs from the int8 plan",
            f"{numbers}, planned: {quantized}",
            "this is a defect of the exporter; report it",
        )
