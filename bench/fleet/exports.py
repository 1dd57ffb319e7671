"""The exports of a matrix, made once on the machine that asks; and what of them travels to the devices."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from bench.exported import ExportFolder, read_export
from bench.fleet.blobs import BlobCache
from bench.fleet.matrix import Matrix, ModelEntry
from export.config import Name, load_config
from export.errors import BadInput
from export.manifest import write_manifest
from export.model_steps import TRUTH, WEIGHTS, plan_paths, weights_step
from export.options import parse_overrides
from export.pipeline import export_model, require_success
from export.progress import Narrator
from export.request import Request, demo_checkpoint, find_checkpoint
from export.steps import WHOLE, Folder
from export.summary import manifest_of

FLEET, EXPORTS, BLOBS = "fleet", "exports", "blobs"
"""Within OUT; the latter two are shared by all runs."""


@dataclass(frozen=True)
class Travelling:
    """One export as it goes to the devices."""

    model: str
    files: dict[str, str]
    """Path within the folder → sha256."""


def travelling_exports(matrix: Matrix, blobs: BlobCache, narrator: Narrator) -> list[Travelling]:
    """Every model of the matrix, exported where it is not yet.

    Args:
        matrix: models and precisions.
        blobs: gets all files that travel.
        narrator: is told of each step.

    Raises:
        BadInput: a model or a file is not there, or two models have one name.
        CheckFailed, Inconclusive: a precision failed its parity; nothing is measured then.
    """
    found: dict[str, Travelling] = {}
    for entry in matrix.models:
        exported = export_here(entry, matrix, narrator)
        name = _plain(entry.name or exported.manifest.model)
        if name in found:
            raise BadInput("two models have one name", name, "give one of them another `name` in the matrix")
        found[name] = _travelling(name, exported, matrix, blobs)
    return list(found.values())


def _plain(name: str) -> str:
    """A folder will be called so.

    Raises:
        BadInput: it cannot be.
    """
    try:
        return TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise BadInput("no folder can be called like this model", name, "give it a `name` in the matrix") from error


def export_here(entry: ModelEntry, matrix: Matrix, narrator: Narrator) -> ExportFolder:
    """The export of one model: a folder as it is; anything else in ``OUT/fleet/exports``, up to date."""
    place = Path(entry.model)
    if place.is_absolute() and place.is_dir():  # a name is none, even if a folder here is called so
        if entry.checkpoint or entry.set:
            seen = f"{entry.model} with checkpoint or set"
            raise BadInput("an exported folder is used as it is", seen, "leave them out, or name the model")
        return read_export(place)
    config = load_config(entry.model)
    found = entry.checkpoint or find_checkpoint(config, Path("weights")) or demo_checkpoint(config)
    overrides = parse_overrides([f"{field}={value}" for field, value in entry.set.items()])
    request = Request(config, found, overrides, matrix.precisions)
    folder = Folder(matrix.out / FLEET / EXPORTS / (entry.name or config.name), narrator)
    with folder.held():
        exported = export_model(folder, request, weights_step(folder, request))
        require_success(exported)
        write_manifest(folder.path, manifest_of(folder, request, exported))
    return read_export(folder.path)


def _travelling(name: str, exported: ExportFolder, matrix: Matrix, blobs: BlobCache) -> Travelling:
    """ONNX files, truth and weights. Engines stay: they are built where they run."""
    artifacts = [exported.onnx(precision) for precision in matrix.precisions]
    rounded = [plan_paths(precision)[2] for precision in matrix.precisions if precision != "fp32"]
    paths = [*(artifact.path for artifact in artifacts), TRUTH, WEIGHTS, *rounded]
    if missing := [path for path in paths if not (exported.path / path).is_file()]:
        raise BadInput(f"{exported.path} is not whole", f"missing: {', '.join(missing)}", "export it again")
    sent = {"artifacts": artifacts, "not_run": [m for m in exported.manifest.not_run if m.kind != "engine"]}
    manifest = (exported.manifest.model_copy(update=sent).model_dump_json(indent=2) + "\n").encode()
    digest = sha256(manifest).hexdigest()
    blobs.store(digest, manifest)
    return Travelling(name, {path: blobs.keep(exported.path / path) for path in paths} | {WHOLE: digest})
