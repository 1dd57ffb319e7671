"""From a matrix to jobs: one for each device and model, with everything that is compared there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.fleet.blobs import BlobCache
from bench.fleet.exports import BLOBS, FLEET, sent_files
from bench.fleet.matrix import Matrix
from bench.fleet.record import FleetRecord
from bench.fleet.spec import JobSpec, code_version
from export.common.errors import BadInput
from export.common.progress import StepObserver


@dataclass(frozen=True)
class FleetPlan:
    """The jobs of a run, and its folder."""

    run: str
    folder: Path
    matrix: dict[str, Any]
    """As it was read."""
    specs: tuple[JobSpec, ...]
    sources: BlobCache
    """All files that devices need."""


def plan_fleet(matrix: Matrix, observer: StepObserver) -> FleetPlan:
    """Export what is missing, and expand the matrix; the run's folder is ``OUT/fleet/<run>``.

    Raises:
        BadInput, CheckFailed, Inconclusive: see ``sent_files``.
    """
    assert matrix.name is not None
    sources = BlobCache(matrix.out / FLEET / BLOBS)
    specs = tuple(expand(matrix, sent_files(matrix, sources, observer)))
    return FleetPlan(matrix.name, matrix.out / FLEET / matrix.name, matrix.model_dump(mode="json"), specs, sources)


def expand(matrix: Matrix, models: Mapping[str, dict[str, str]]) -> Iterator[JobSpec]:
    """Expand the matrix to jobs, model by model, so that every device begins early."""
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


def planned_before(folder: Path, record: FleetRecord) -> FleetPlan:
    """Return the plan of a run that was begun, without exporting its models again.

    Raises:
        BadInput: it was begun by another version of this project, or a file that devices need is gone.
    """
    do = "begin anew: convnextpose fleet run"
    if record.code != code_version():
        seen = f"code {record.code[:12]}…, here {code_version()[:12]}…"
        raise BadInput("this run was begun by another version of this project", seen, do)
    specs = tuple(job.spec for job in record.jobs)
    sources = BlobCache(folder.parent / BLOBS)
    if missing := sources.lacking({digest for spec in specs for digest in spec.files.values()}):
        raise BadInput("files of this run are no longer there", f"{len(missing)} of {folder.parent / BLOBS}", do)
    return FleetPlan(record.run, folder, record.matrix, specs, sources)
