"""The files of one model, read together; what does not belong together is refused."""

from dataclasses import dataclass
from pathlib import Path

from bench.accuracy.record import Evaluation
from bench.gate.decision import Comparison
from bench.results.result import RESULT, Result, read_result, require_of_export
from bench.sessions.exported import read_export
from export.common.errors import BadInput
from export.common.records import read_record
from export.pipeline.manifest import Manifest

BENCH = f"bench/{RESULT}"


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model; None where there is no such file."""

    folder: Path
    manifest: Manifest
    result: Result | None
    evaluations: tuple[Evaluation, ...]
    comparison: Comparison | None


def read_model_files(folder: Path, gate: Path | None = None) -> ModelFiles:
    """Read everything in ``folder``; only the manifest has to be there.

    Raises:
        BadInput: no export lies there, or a file is damaged, has an unknown schema version, or is of another export.
    """
    manifest = read_export(folder).manifest
    path, compare = folder / BENCH, "make it: convnextpose compare … --out FILE.json"
    result = read_result(path) if path.exists() else None
    if result is not None:
        require_of_export(result, manifest, path)
    return ModelFiles(
        folder=folder,
        manifest=manifest,
        result=result,
        evaluations=_read_evaluations(folder, manifest),
        comparison=read_record(gate, Comparison, ["1.1"], "comparison", compare) if gate else None,
    )


def read_evaluations(export: Path) -> dict[Path, Evaluation]:
    """Read the evaluations in an export's folder.

    Raises:
        BadInput: one of them is damaged.
    """
    advice = f"evaluate again, or remove it: convnextpose evaluate {export}"
    paths = sorted((export / "accuracy").glob("*.json"))
    return {path: read_record(path, Evaluation, ["1.0"], "evaluation", advice) for path in paths}


def _read_evaluations(folder: Path, manifest: Manifest) -> tuple[Evaluation, ...]:
    """Read the evaluations of these weights and files."""
    evaluations, known = read_evaluations(folder), {artifact.sha256 for artifact in manifest.artifacts}
    for path, record in evaluations.items():
        advice = f"evaluate again, or remove {path.name}: convnextpose evaluate {folder}"
        if record.weights.sha256 != manifest.weights.sha256:
            detail = f"sha256 {record.weights.sha256[:12]}, and {manifest.weights.sha256[:12]} in the manifest"
            raise BadInput(f"{path} is of other weights than the export", detail, advice)
        for row in record.rows:
            if row.sha256 is not None and row.sha256 not in known:
                detail = f"{row.name}: {row.sha256[:12]} is no file of the manifest"
                raise BadInput(f"{path} was evaluated on other files than those of the export", detail, advice)
    return tuple(evaluations.values())
