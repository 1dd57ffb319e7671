"""``matrix.yaml``: which models, in which precisions and runtimes, on which devices."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from bench.fleet.record import EARLIER
from bench.fleet.spec import BenchOptions, EngineOptions
from bench.results.record import Record
from bench.sessions.exported import RUNTIMES
from export.common.errors import BadInput
from export.common.interface import PRECISIONS
from export.common.yaml_keys import UniqueKeys
from export.model.config import Name

RESERVED = ("exports", "blobs")
"""Folders beside those of the runs, which all runs share."""


class ModelEntry(Record):
    """One model: a declared name, a configuration file (.yaml), or a folder that ``export`` filled."""

    model: str
    checkpoint: Path | None = None
    set: dict[str, int] = Field(default_factory=dict)
    """As ``export --set`` takes it."""
    name: Name | None = None
    """Its name in the results; by default the model's."""


class DeviceKind(Record):
    """Devices that may replace each other."""

    name: Name
    resource: Name
    """The Dask resource of their workers: ``dask worker --resources jetson_orin=1``."""
    count: int = Field(default=1, ge=1, le=64)
    """The number of different devices on which each model is measured."""


class Matrix(Record):
    """The whole file."""

    name: Name | None = None
    """Of the run's folder; by default the file's name."""
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
    def _names_alone(cls, models: Any) -> Any:
        """Accept ``S`` as short for ``{model: S}``."""
        return [{"model": m} if isinstance(m, str) else m for m in models] if isinstance(models, list) else models

    @field_validator("precisions")
    @classmethod
    def _known_precisions(cls, precisions: tuple[str, ...]) -> tuple[str, ...]:
        return _known(precisions, PRECISIONS)

    @field_validator("runtimes")
    @classmethod
    def _known_runtimes(cls, runtimes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if runtimes is None else _known(runtimes, RUNTIMES)

    @field_validator("devices")
    @classmethod
    def _no_device_has_a_reserved_name(cls, devices: tuple[DeviceKind, ...]) -> tuple[DeviceKind, ...]:
        if any(kind.name == EARLIER for kind in devices):
            raise ValueError(f"no device can be called {EARLIER}: results of earlier matrices lie there")
        return devices

    @model_validator(mode="after")
    def _devices_differ(self) -> "Matrix":
        places = [f"{kind.name}-{n}" if n > 1 else kind.name for kind in self.devices for n in range(1, kind.count + 1)]
        if len(set(places)) < len(places):
            raise ValueError(f"devices need names of their own, also counted ones: {', '.join(places)}")
        return self


PARTS: dict[str, type[Record]] = {
    "models": ModelEntry,
    "devices": DeviceKind,
    "bench": BenchOptions,
    "engine": EngineOptions,
}
"""Models of the mappings inside a matrix."""


def _known(given: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [value for value in given if value not in known]:
        raise ValueError(f"unknown: {', '.join(unknown)}; choose of {', '.join(known)}")
    if not given or len(set(given)) < len(given):
        raise ValueError("name at least one, each once")
    return given


def read_matrix(path: Path) -> Matrix:
    """Read the matrix in ``path``; paths in it are relative to the file, and become absolute.

    Raises:
        BadInput: unreadable, not YAML, or a key that is wrong, missing or unknown.
    """
    do = "see docs/how-to/fleet.md for an example"
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), UniqueKeys)
        matrix = Matrix.model_validate(document)
    except ValidationError as error:
        seen = "; ".join(map(_mistake, error.errors(include_url=False)))
        raise BadInput(f"{path} is no matrix", seen, do) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the matrix {path}", str(error), "name a readable YAML file") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not valid YAML", " ".join(str(error).split()), "mend the line named") from error
    try:
        name = TypeAdapter(Name).validate_python(matrix.name or path.stem)
    except ValidationError as error:
        raise BadInput("a run's folder cannot be called so", path.stem, "give the matrix a `name`") from error
    if name in RESERVED:
        raise BadInput("a run cannot have this name", name, "give the matrix another `name`")
    base = path.absolute().parent
    models = tuple(_absolute(entry, base) for entry in matrix.models)
    return matrix.model_copy(update={"name": name, "models": models, "out": base / matrix.out})


def _absolute(entry: ModelEntry, base: Path) -> ModelEntry:
    """Make folders and files relative to the matrix; keep the names of declared models."""
    changes: dict[str, Any] = {}
    if (
        "/" in entry.model
        or (base / entry.model / "manifest.json").is_file()
        or entry.model.endswith((".yaml", ".yml"))
    ):
        changes["model"] = str(base / entry.model)
    if entry.checkpoint is not None:
        changes["checkpoint"] = base / entry.checkpoint
    return entry.model_copy(update=changes)


def _mistake(error: Any) -> str:
    """Describe one mistake; for an unknown key name those that there are."""
    place = ".".join(map(str, error["loc"])) or "matrix"
    if error["type"] != "extra_forbidden":
        return f"{place}: {error['msg']} (found: {error['input']!r:.60})"
    record = PARTS[str(error["loc"][0])] if len(error["loc"]) > 1 else Matrix
    return f"{place}: unknown key; allowed are {', '.join(record.model_fields)}"
