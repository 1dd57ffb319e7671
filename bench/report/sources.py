"""Reads what a folder holds for a report, and refuses what does not belong together."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bench.device_report import DeviceReport
from bench.exported import read_export
from bench.fleet.record import FLEET, read_fleet
from bench.report.devices.belongs import DEVICES, USUAL_NAME, read_reports, require_of_export
from bench.report.records import AccuracyFile, ComparisonFile, FirstTable, read_record
from bench.report.subject import FleetRun
from bench.result import RESULT, Result, read_result
from export.errors import BadInput
from export.manifest import Manifest
from export.steps import WHOLE

BENCH = f"bench/{RESULT}"
FIRST_TABLE = "latency.json"
ACCURACY = "accuracy"
RUNS = "fleet"
BUNDLE, JSON = "bundle", ".json"

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
    devices: tuple[tuple[Path, DeviceReport], ...] = ()
    """What devices reported about bundles of this export."""
    runs: tuple[FleetRun, ...] = ()
    """Fleets' runs in which one of its files was measured: those beside it, and the one that it lies in."""


def read_sources(folder: Path, gate: Path | None = None, reports: Sequence[Path] = ()) -> Sources:
    """Read everything in ``folder``; only the manifest has to be there. ``reports``: of devices, beside those in it.

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
        devices=tuple(_devices([*sorted((folder / DEVICES).glob("*.json")), *reports], manifest)),
        runs=tuple(_runs_of(folder, manifest)),
    )


@dataclass(frozen=True)
class Found:
    """What there is to report on."""

    models: tuple[Path, ...]
    """Folders that ``export`` filled."""
    runs: tuple[Path, ...]
    """Folders of a fleet's runs."""
    reports: tuple[Path, ...]
    """What bundles' verifiers wrote on devices."""


def find_sources(named: Sequence[Path]) -> Found:
    """Models, runs and devices' reports: those named, and those in a folder of them (``build``, ``build/fleet``).

    Of models in a folder those that were benchmarked; if none was, all that were exported.

    Raises:
        BadInput: a folder holds nothing of this, or is a bundle, or a folder of one device of a run.
    """
    models: list[Path] = []
    runs: list[Path] = []
    reports: list[Path] = []
    for path in named:
        if path.suffix == JSON and not path.is_dir():
            reports.append(path)
        elif (path / FLEET).exists():
            runs.append(path)
        elif (path / WHOLE).exists() or not path.is_dir():
            _refuse_bundle(path)
            models.append(path)
        else:
            inside, of_fleet = _models_in(path), _runs_in(path)
            if not inside and not of_fleet:
                seen, do = f"no {WHOLE} and no {FLEET} in it or below", "make one: make export MODEL=S"
                raise BadInput(f"{path} holds no exported model and no fleet's run", seen, do)
            models += inside
            runs += of_fleet
    return Found(*(tuple(dict.fromkeys(of)) for of in (models, runs, reports)))


def _models_in(folder: Path) -> list[Path]:
    inside = sorted(path.parent for path in folder.glob(f"*/{WHOLE}"))
    return [path for path in inside if (path / BENCH).exists()] or inside


def _runs_in(folder: Path) -> list[Path]:
    """In ``build`` they lie one level deeper than in ``build/fleet``."""
    return sorted(path.parent for place in (f"*/{FLEET}", f"{RUNS}/*/{FLEET}") for path in folder.glob(place))


def _refuse_bundle(folder: Path) -> None:
    """A bundle's manifest has the name of an export's."""
    try:
        kind = json.loads((folder / WHOLE).read_bytes())["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if kind == BUNDLE:
        do = f"run verify.py on the device, and name what it writes: convnextpose report {folder / (USUAL_NAME + JSON)}"
        raise BadInput(f"{folder} is a bundle, and no export", "a bundle holds no measurement", do)


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


def _devices(paths: Sequence[Path], manifest: Manifest) -> list[tuple[Path, DeviceReport]]:
    named = read_reports(paths)
    for path, report in named:
        require_of_export(path, report, manifest)
    return named


def _runs_of(folder: Path, manifest: Manifest) -> Iterator[FleetRun]:
    """A damaged run is no matter of this model: it is named where its own page cannot be made."""
    mine, here = {artifact.sha256 for artifact in manifest.artifacts}, folder.resolve()
    for run in (*_runs_in(here.parent), *here.parents[1:2]):
        with suppress(BadInput):
            record = read_fleet(run)
            done = {run / job.folder: job.spec for job in record.jobs if job.state == "done"}
            others = [spec.place for place, spec in done.items() if place != here and mine & set(spec.files.values())]
            if others or here in done:
                shown = run if folder.is_absolute() else Path(os.path.relpath(run))
                yield FleetRun(record.run, shown, tuple(dict.fromkeys(others)))


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
