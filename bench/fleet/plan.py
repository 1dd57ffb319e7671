"""From a matrix to jobs: one for each device and model, with the files of the export that devices need."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.fleet.blobs import BlobCache
from bench.fleet.matrix import Matrix, ModelEntry, valid_name
from bench.fleet.spec import JobSpec, code_version
from bench.sessions.exported import ExportFolder, read_export
from export.common.errors import BadInput
from export.common.progress import StepObserver
from export.model.config import load_config
from export.pipeline.layout import MANIFEST, TRUTH, WEIGHTS, plan_paths
from export.pipeline.options import parse_overrides
from export.pipeline.request import ExportRequest, choose_checkpoint
from export.pipeline.run import run_export

RUNS, EXPORTS, BLOBS = "fleet", "exports", "blobs"
"""Within OUT; all runs share the latter two."""


@dataclass(frozen=True)
class FleetPlan:
    """The jobs of a run, and its folder."""

    run: str
    folder: Path
    matrix: dict[str, Any]
    """The matrix file's content."""
    specs: tuple[JobSpec, ...]
    sources: BlobCache
    """All files that devices need."""


def plan_fleet(matrix: Matrix, observer: StepObserver) -> FleetPlan:
    """Export the models that are not up to date, and expand the matrix; the run's folder is ``OUT/fleet/<run>``.

    Raises:
        BadInput: a model or a file is missing, or two models have one name.
        CheckFailed, Inconclusive: a precision failed its parity.
    """
    assert matrix.name is not None
    folder = matrix.out / RUNS
    sources = BlobCache(folder / BLOBS)
    models: dict[str, dict[str, str]] = {}
    for entry in matrix.models:
        exported = _export(entry, matrix, observer)
        advice = "give it a `name` in the matrix"
        name = valid_name(entry.name or exported.manifest.model, "the model's name", advice)
        if name in models:
            raise BadInput("two models have one name", name, "give one of them another `name` in the matrix")
        models[name] = _add_files(exported, matrix, sources)
    specs = tuple(expand(matrix, models))
    return FleetPlan(matrix.name, folder / matrix.name, matrix.model_dump(mode="json"), specs, sources)


def expand(matrix: Matrix, models: Mapping[str, dict[str, str]]) -> Iterator[JobSpec]:
    """Expand the matrix to jobs, model by model, so that every device begins early.

    Args:
        matrix: models, devices and options.
        models: name of the model → path of each file → sha256.
    """
    for model, files in models.items():
        for kind in matrix.devices:
            for replica in range(1, kind.count + 1):
                yield JobSpec(
                    device=kind.name,
                    resource=kind.resource,
                    replica=replica,
                    model=model,
                    files=files,
                    precisions=matrix.precisions,
                    runtimes=matrix.runtimes,
                    bench=matrix.bench,
                    engine=matrix.engine,
                    code=code_version(),
                    deadline_s=matrix.deadline_s,
                )


def _export(entry: ModelEntry, matrix: Matrix, observer: StepObserver) -> ExportFolder:
    """Return the export of one model: a folder as it is; anything else in ``OUT/fleet/exports``, up to date."""
    place = Path(entry.model)
    if place.is_absolute() and place.is_dir():  # the name of a declared model is never absolute
        if entry.checkpoint or entry.set:
            value = f"{entry.model} with checkpoint or set"
            raise BadInput("an exported folder is used as it is", value, "leave them out, or name the model")
        return read_export(place)
    config = load_config(entry.model)
    observer.model = entry.name or config.name
    overrides = parse_overrides([f"{field}={value}" for field, value in entry.set.items()])
    request = ExportRequest(config, choose_checkpoint(config, entry.checkpoint), overrides, matrix.precisions)
    export = run_export(request, matrix.out / RUNS / EXPORTS / (entry.name or config.name), observer)
    export.require_success()
    return read_export(export.folder)


def _add_files(exported: ExportFolder, matrix: Matrix, sources: BlobCache) -> dict[str, str]:
    """Add ONNX files, reference joints and weights to ``sources``. Engines stay here: a device builds its own.

    Returns:
        Path within the exported folder → sha256.
    """
    artifacts = [exported.onnx(precision) for precision in matrix.precisions]
    plans = [plan_paths(precision).simulation for precision in matrix.precisions if precision != "fp32"]
    paths = [*(artifact.path for artifact in artifacts), TRUTH, WEIGHTS, *plans]
    if missing := [path for path in paths if not (exported.path / path).is_file()]:
        raise BadInput(f"{exported.path} is incomplete", f"missing: {', '.join(missing)}", "export it again")
    update = {"artifacts": artifacts, "not_run": [m for m in exported.manifest.not_run if m.kind != "engine"]}
    manifest = (exported.manifest.model_copy(update=update).model_dump_json(indent=2) + "\n").encode()
    digest = sha256(manifest).hexdigest()
    sources.store(digest, manifest)
    return {path: sources.add(exported.path / path) for path in paths} | {MANIFEST: digest}
