"""``matrix.yaml``: which models, in which precisions and runtimes, on which devices."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from bench.exported import RUNTIMES
from bench.fleet.record import EARLIER
from bench.fleet.spec import BenchOptions, EngineOptions
from bench.record import Record
from export.config import Name
from export.errors import BadInput
from export.interface import PRECISIONS
from export.yaml_keys import UniqueKeys

RESERVED = ("exports", "blobs")
"""Beside the runs' folders lie those that they share."""


class ModelEntry(Record):
    """One model: a declared name, an own configuration (.yaml), or a folder that ``export`` filled."""

    model: str
    checkpoint: Path | None = None
    set: dict[str, int] = Field(default_factory=dict)
    """What weights cannot tell, as ``export --set`` takes it."""
    name: Name | None = None
    """What it is called in the results; by default the model's name."""


class DeviceKind(Record):
    """Machines that may stand in for each other."""

    name: Name
    resource: Name
    """What their workers have: ``dask worker --resources "jetson_orin=1"``."""
    count: int = Field(default=1, ge=1, le=64)
    """On how many different ones each model is measured."""


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
        """``S`` is short for ``{model: S}``."""
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
    def _no_device_is_a_folder_of_ours(cls, devices: tuple[DeviceKind, ...]) -> tuple[DeviceKind, ...]:
        if any(kind.name == EARLIER for kind in devices):
            raise ValueError(f"no device can be called {EARLIER}: results of earlier matrices lie there")
        return devices

    @model_validator(mode="after")
    def _devices_differ(self) -> "Matrix":
        places = [f"{kind.name}-{n}" if n > 1 else kind.name for kind in self.devices for n in range(1, kind.count + 1)]
        if len(set(places)) < len(places):
            raise ValueError(f"devices need names of their own, also counted ones: {', '.join(places)}")
        return self


def _known(given: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [value for value in given if value not in known]:
        raise ValueError(f"unknown: {', '.join(unknown)}; choose of {', '.join(known)}")
    if not given or len(set(given)) < len(given):
        raise ValueError("name at least one, each once")
    return given


def read_matrix(path: Path) -> Matrix:
    """The matrix in ``path``, with a name, and all paths absolute; relative ones are relative to the file.

    Raises:
        BadInput: unreadable, not YAML, or a key that is wrong, missing or unknown.
    """
    do = "see docs/fleet.md for an example"
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), UniqueKeys)
        matrix = Matrix.model_validate(document)
    except ValidationError as error:
        raise BadInput(f"{path} is no matrix", "; ".join(_said(error)), do) from error
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
    """Folders and files are looked for beside the matrix; names of declared models stay what they are."""
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


def _said(error: ValidationError) -> Iterator[str]:
    """Each mistake in a phrase; an unknown key with those that there are."""
    for mistake in error.errors(include_url=False):
        place = ".".join(map(str, mistake["loc"])) or "matrix"
        if mistake["type"] != "extra_forbidden":
            yield f"{place}: {mistake['msg']} (seen: {mistake['input']!r:.60})"
            continue
        allowed = list(_allowed(mistake["loc"][:-1]))
        near = difflib.get_close_matches(str(mistake["loc"][-1]), allowed, n=1)
        yield (
            f"{place}: there is no such key; "
            + (f"did you mean {near[0]}? " if near else "")
            + (f"allowed are {', '.join(allowed)}")
        )


def _allowed(place: tuple[int | str, ...]) -> Iterator[str]:
    """The keys that may stand at ``place``."""
    parts: dict[str, type[Record]] = {
        "models": ModelEntry,
        "devices": DeviceKind,
        "bench": BenchOptions,
        "engine": EngineOptions,
    }
    record = parts[str(place[0])] if place else Matrix
    yield from record.model_fields
