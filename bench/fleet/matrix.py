"""``matrix.yaml``: models, precisions and runtimes, and the devices that measure them."""

import os
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from bench.fleet.spec import EngineOptions
from bench.harness.candidates import REFERENCES
from bench.harness.options import BenchOptions
from bench.results.record import Record
from bench.sessions.exported import RUNTIMES
from export.common.errors import BadInput
from export.common.interface import PRECISIONS
from export.common.yaml_file import problems, read_yaml
from export.model.config import Name

RESERVED = ("exports", "blobs")
"""Names of folders beside those of the runs, which all runs share."""


class ModelEntry(Record):
    """One model: a declared name, a configuration file (.yaml), or a folder that ``export`` filled."""

    model: str
    checkpoint: Path | None = None
    set: dict[str, int] = Field(default_factory=dict)
    """As for ``export --set``."""
    name: Name | None = None
    """Name in the results; by default the model's."""


class DeviceKind(Record):
    """Devices that can replace each other."""

    name: Name
    resource: Name
    """The Dask resource of their workers: ``dask worker --resources jetson_orin=1``."""
    count: int = Field(default=1, ge=1, le=64)
    """The number of different devices on which each model is measured."""


class Matrix(Record):
    """The whole file."""

    name: Name | None = None
    """The run's name; by default the file's."""
    models: tuple[ModelEntry, ...] = Field(min_length=1)
    precisions: tuple[str, ...] = Field(default=("fp32",), min_length=1)
    runtimes: tuple[str, ...] | None = None
    """By default those of the mode."""
    devices: tuple[DeviceKind, ...] = Field(min_length=1)
    bench: BenchOptions = BenchOptions()
    engine: EngineOptions = EngineOptions()
    deadline_s: float = Field(default=3600, ge=1)
    out: Path = Path("build")

    @field_validator("models", mode="before")
    @classmethod
    def _accept_names(cls, models: Any) -> Any:
        """Accept ``S`` as short for ``{model: S}``."""
        return [{"model": m} if isinstance(m, str) else m for m in models] if isinstance(models, list) else models

    @model_validator(mode="after")
    def _require_known_values(self) -> "Matrix":
        _require_known("precisions", self.precisions, PRECISIONS)
        if self.runtimes is not None:
            _require_known("runtimes", self.runtimes, RUNTIMES)
        if self.bench.reference is not None:
            _require_known("bench.reference", (self.bench.reference,), REFERENCES)
        places = [f"{kind.name}-{n}" if n > 1 else kind.name for kind in self.devices for n in range(1, kind.count + 1)]
        if len(set(places)) < len(places):
            raise ValueError(f"devices need different names: {', '.join(places)}")
        return self


def _require_known(field: str, values: tuple[str, ...], known: tuple[str, ...]) -> None:
    if unknown := [value for value in values if value not in known]:
        raise ValueError(f"unknown {field}: {', '.join(unknown)}; choose from {', '.join(known)}")
    if not values or len(set(values)) < len(values):
        raise ValueError(f"{field}: name at least one, each once")


def read_matrix(path: Path) -> Matrix:
    """Read the matrix in ``path``; paths in it are relative to the file, and become absolute.

    Raises:
        BadInput: unreadable, not YAML, or a key is wrong, missing or unknown.
    """
    advice = "compare it with the example in docs/how-to/fleet.md"
    document = read_yaml(path, "matrix")
    try:
        matrix = Matrix.model_validate(document)
    except ValidationError as error:
        raise BadInput(f"{path} is not a valid matrix", problems(error, "matrix"), advice) from error
    name = valid_name(matrix.name or path.stem, "the run's name", "give the matrix a `name`")
    if name in RESERVED:
        raise BadInput("this name of a run is reserved", name, "give the matrix another `name`")
    base = path.absolute().parent
    models = tuple(_absolute(entry, base) for entry in matrix.models)
    return matrix.model_copy(update={"name": name, "models": models, "out": base / matrix.out})


def valid_name(name: str, of_what: str, advice: str) -> str:
    """Return a name that can name a folder.

    Raises:
        BadInput: it cannot.
    """
    try:
        return TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise BadInput(f"{of_what} cannot name a folder", name, advice) from error


def _absolute(entry: ModelEntry, base: Path) -> ModelEntry:
    """Make folders and files relative to the matrix; keep the names of declared models."""
    changes: dict[str, Any] = {}
    is_folder = "/" in entry.model or os.path.isfile(base / entry.model / "manifest.json")
    if is_folder or entry.model.endswith((".yaml", ".yml")):
        changes["model"] = str(base / entry.model)
    if entry.checkpoint is not None:
        changes["checkpoint"] = base / entry.checkpoint
    return entry.model_copy(update=changes)
