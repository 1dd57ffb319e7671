"""From a matrix to jobs: one for each device and model, with everything that is compared there in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.fleet.blobs import BlobCache
from bench.fleet.exports import BLOBS, FLEET, Travelling, travelling_exports
from bench.fleet.matrix import Matrix
from bench.fleet.record import FleetRecord
from bench.fleet.spec import JobSpec, code_version
from export.errors import BadInput
from export.progress import Narrator


@dataclass(frozen=True)
class FleetPlan:
    """What a run has to do, and where."""

    run: str
    folder: Path
    matrix: dict[str, Any]
    """As it was read, for whoever wants to know later."""
    specs: tuple[JobSpec, ...]
    sources: BlobCache
    """All files that a device may lack."""


def plan_fleet(matrix: Matrix, narrator: Narrator) -> FleetPlan:
    """Export what is missing, and expand the matrix; the run's folder is ``OUT/fleet/<run>``.

    Raises:
        BadInput, CheckFailed, Inconclusive: see ``travelling_exports``.
    """
    assert matrix.name is not None
    sources = BlobCache(matrix.out / FLEET / BLOBS)
    specs = tuple(expand(matrix, travelling_exports(matrix, sources, narrator)))
    return FleetPlan(matrix.name, matrix.out / FLEET / matrix.name, matrix.model_dump(mode="json"), specs, sources)


def expand(matrix: Matrix, exports: Sequence[Travelling]) -> Iterator[JobSpec]:
    """Model after model, so that every device gets something to do early."""
    for export in exports:
        for kind in matrix.devices:
            for replica in range(1, kind.count + 1):
                yield JobSpec(
                    device=kind.name,
                    resource=kind.resource,
                    replica=replica,
                    model=export.model,
                    files=export.files,
                    precisions=matrix.precisions,
                    runtimes=matrix.runtimes,
                    bench=matrix.bench,
                    engine=matrix.engine,
                    code=code_version(),
                    deadline_s=matrix.deadline_s,
                )


def planned_before(folder: Path, record: FleetRecord) -> FleetPlan:
    """The plan of a run that was begun, without looking at its models anew.

    Raises:
        BadInput: it was begun by another version of this project, or a file that travels has gone.
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
