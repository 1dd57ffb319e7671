"""The exports of a matrix, made once on the client's machine; and the files of them that devices need."""

from hashlib import sha256
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from bench.fleet.blobs import BlobCache
from bench.fleet.matrix import Matrix, ModelEntry
from bench.sessions.exported import ExportFolder, read_export
from export.common.errors import BadInput
from export.common.progress import StepObserver
from export.model.config import Name, load_config
from export.pipeline.model_steps import TRUTH, WEIGHTS, plan_paths
from export.pipeline.options import parse_overrides
from export.pipeline.request import ExportRequest, choose_checkpoint
from export.pipeline.run import run_export
from export.pipeline.steps import WHOLE

FLEET, EXPORTS, BLOBS = "fleet", "exports", "blobs"
"""Within OUT; the latter two are shared by all runs."""


def sent_files(matrix: Matrix, blobs: BlobCache, observer: StepObserver) -> dict[str, dict[str, str]]:
    """Export every model of the matrix that is not exported yet.

    Returns:
        Name of the model → the files that devices need: path within the exported folder → sha256.

    Args:
        matrix: models and precisions.
        blobs: receives all files that devices need.
        observer: is told of each step.

    Raises:
        BadInput: a model or a file is not there, or two models have one name.
        CheckFailed, Inconclusive: a precision failed its parity; nothing is measured then.
    """
    found: dict[str, dict[str, str]] = {}
    for entry in matrix.models:
        exported = export_here(entry, matrix, observer)
        name = _plain(entry.name or exported.manifest.model)
        if name in found:
            raise BadInput("two models have one name", name, "give one of them another `name` in the matrix")
        found[name] = _sent(exported, matrix, blobs)
    return found


def _plain(name: str) -> str:
    """Return ``name``, if a folder can have it.

    Raises:
        BadInput: it cannot.
    """
    try:
        return TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise BadInput("no folder can be called like this model", name, "give it a `name` in the matrix") from error


def export_here(entry: ModelEntry, matrix: Matrix, observer: StepObserver) -> ExportFolder:
    """Return the export of one model: a folder as it is; anything else in ``OUT/fleet/exports``, up to date."""
    place = Path(entry.model)
    if place.is_absolute() and place.is_dir():  # a declared model is never absolute
        if entry.checkpoint or entry.set:
            seen = f"{entry.model} with checkpoint or set"
            raise BadInput("an exported folder is used as it is", seen, "leave them out, or name the model")
        return read_export(place)
    config = load_config(entry.model)
    overrides = parse_overrides([f"{field}={value}" for field, value in entry.set.items()])
    checkpoint = choose_checkpoint(config, entry.checkpoint)
    request = ExportRequest(config, checkpoint, overrides, matrix.precisions)
    made = run_export(request, matrix.out / FLEET / EXPORTS / (entry.name or config.name), observer)
    made.require_success()
    return read_export(made.folder)


def _sent(exported: ExportFolder, matrix: Matrix, blobs: BlobCache) -> dict[str, str]:
    """Store ONNX files, truth and weights. Engines stay here: a device builds its own."""
    artifacts = [exported.onnx(precision) for precision in matrix.precisions]
    rounded = [plan_paths(precision)[2] for precision in matrix.precisions if precision != "fp32"]
    paths = [*(artifact.path for artifact in artifacts), TRUTH, WEIGHTS, *rounded]
    if missing := [path for path in paths if not (exported.path / path).is_file()]:
        raise BadInput(f"{exported.path} is not whole", f"missing: {', '.join(missing)}", "export it again")
    update = {"artifacts": artifacts, "not_run": [m for m in exported.manifest.not_run if m.kind != "engine"]}
    manifest = (exported.manifest.model_copy(update=update).model_dump_json(indent=2) + "\n").encode()
    digest = sha256(manifest).hexdigest()
    blobs.store(digest, manifest)
    return {path: blobs.add(exported.path / path) for path in paths} | {WHOLE: digest}
