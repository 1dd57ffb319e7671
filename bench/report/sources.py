"""Reads what a folder holds for a report, and refuses what does not belong together."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bench.exported import read_export
from bench.report.records import AccuracyFile, ComparisonFile, FirstTable, read_record
from bench.result import RESULT, Result, read_result
from export.errors import BadInput
from export.manifest import Manifest
from export.steps import WHOLE

BENCH = f"bench/{RESULT}"
FIRST_TABLE = "latency.json"
ACCURACY = "accuracy"

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Sources:
    """The files of one model; what is None is not there."""

    folder: Path
    manifest: Manifest
    first_table: FirstTable | None
    result: Result | None
    samples: Arrays | None
    """Raw latencies, as ``bench.assemble.sample_arrays`` names them."""
    accuracy: tuple[AccuracyFile, ...]
    gate: ComparisonFile | None


def read_sources(folder: Path, gate: Path | None = None) -> Sources:
    """Read everything in ``folder``; only the manifest has to be there.

    Raises:
        BadInput: no export lies there, or a file is damaged, of an unknown schema version, or of another export.
    """
    manifest = read_export(folder).manifest
    result = _result(folder, manifest)
    return Sources(
        folder=folder,
        manifest=manifest,
        first_table=_first_table(folder),
        result=result,
        samples=_samples(folder, result),
        accuracy=tuple(_accuracy(path, manifest) for path in sorted((folder / ACCURACY).glob("*.json"))),
        gate=read_record(gate, ComparisonFile, "comparison", "make it: convnextpose compare … --out FILE.json")
        if gate
        else None,
    )


def find_folders(named: list[Path]) -> list[Path]:
    """The folders of models: those named, and for a folder of folders (``build``) the models in it.

    Of those in it, those that were benchmarked; if none was, all that were exported.

    Raises:
        BadInput: a folder of folders holds no model.
    """
    found: list[Path] = []
    for folder in named:
        inside = sorted(path.parent for path in folder.glob(f"*/{WHOLE}"))
        if (folder / WHOLE).exists() or not folder.is_dir():
            found.append(folder)
        elif not inside:
            do = "make one: make export MODEL=S"
            raise BadInput(f"{folder} is no exported model and holds none", f"no {WHOLE} in it or one level below", do)
        else:
            found += [path for path in inside if (path / BENCH).exists()] or inside
    return list(dict.fromkeys(found))


def _first_table(folder: Path) -> FirstTable | None:
    path = folder / FIRST_TABLE
    if not path.exists():
        return None
    return read_record(path, FirstTable, "first latency table", "make it again: convnextpose export")


def _result(folder: Path, manifest: Manifest) -> Result | None:
    path = folder / BENCH
    if not path.exists():
        return None
    result, do = read_result(path), f"measure again: convnextpose bench {folder}"
    if result.model != manifest.model:
        raise BadInput(f"{path} is of another model", f"{result.model}, and {manifest.model} in the manifest", do)
    known = {artifact.path: artifact.sha256 for artifact in manifest.artifacts}
    for row in result.rows:
        if row.artifact is not None and known.get(row.artifact) != row.artifact_sha256:
            theirs = (known.get(row.artifact) or "no such file")[:12]
            seen = f"{row.artifact}: {str(row.artifact_sha256)[:12]} was measured, {theirs} is in the manifest"
            raise BadInput(f"{path} was measured on other files than those of the export", seen, do)
    return result


def _samples(folder: Path, result: Result | None) -> Arrays | None:
    """None if the file is gone; that it is the result's was seen when that was read."""
    if result is None or result.samples is None:
        return None
    path = folder / Path(BENCH).parent / result.samples.path
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise BadInput(f"cannot read {path}", str(error), "measure again: convnextpose bench") from error


def _accuracy(path: Path, manifest: Manifest) -> AccuracyFile:
    do = f"evaluate again, or remove {path.name}: convnextpose evaluate {path.parent.parent}"
    record = read_record(path, AccuracyFile, "evaluation", do)
    if record.weights.sha256 != manifest.weights.sha256:
        seen = f"sha256 {record.weights.sha256[:12]}, and {manifest.weights.sha256[:12]} in the manifest"
        raise BadInput(f"{path} is of other weights than the export", seen, do)
    known = {artifact.sha256 for artifact in manifest.artifacts}
    for row in record.contenders:
        if row.sha256 is not None and row.sha256 not in known:
            seen = f"{row.name}: {row.sha256[:12]} is no file of the manifest"
            raise BadInput(f"{path} was evaluated on other files than those of the export", seen, do)
    return record
