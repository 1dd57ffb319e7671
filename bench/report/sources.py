"""Sources of a report: models, fleet runs and device reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.fleet.record import FLEET
from bench.report.model_files import BENCH
from export.common.errors import BadInput
from export.common.records import peek
from export.pipeline.layout import MANIFEST

RUNS = "fleet"
DEVICE_REPORT = "device-report.json"
"""The name that the verifier of a bundle gives to its report."""


@dataclass(frozen=True)
class Sources:
    """The named files and folders, by kind."""

    models: tuple[Path, ...]
    """Folders that ``export`` filled."""
    runs: tuple[Path, ...]
    """Folders of fleets' runs."""
    reports: tuple[Path, ...]
    """Device reports."""


def find_sources(paths: Sequence[Path]) -> Sources:
    """Find models, runs and device reports in the given paths; a folder of them stands for all of them.

    Of the models in a folder (``build``), take those that were benchmarked; if none was, all.

    Raises:
        BadInput: a folder holds none of this, or is a bundle.
    """
    models, runs, reports = list[Path](), list[Path](), list[Path]()
    for path in paths:
        if path.suffix == ".json" and not path.is_dir():
            reports.append(path)
        elif (path / FLEET).exists():
            runs.append(path)
        elif (path / MANIFEST).exists() or not path.is_dir():
            _refuse_bundle(path)
            models.append(path)
        else:
            inside = sorted(manifest.parent for manifest in path.glob(f"*/{MANIFEST}"))
            places = (f"*/{FLEET}", f"{RUNS}/*/{FLEET}")  # in build/fleet, and in build
            runs_inside = sorted(record.parent for place in places for record in path.glob(place))
            if not inside and not runs_inside:
                detail, advice = f"no {MANIFEST} and no {FLEET} in it or below", "make one: make export MODEL=S"
                raise BadInput(f"{path} holds no exported model and no fleet's run", detail, advice)
            models += [model for model in inside if (model / BENCH).exists()] or inside
            runs += runs_inside
    return Sources(*(tuple(dict.fromkeys(paths)) for paths in (models, runs, reports)))


def _refuse_bundle(folder: Path) -> None:
    """Refuse a bundle, whose manifest has the name of an export's."""
    if peek(folder / MANIFEST, "kind") == "bundle":
        advice = f"run verify.py on the device, and name its report: convnextpose report {folder / DEVICE_REPORT}"
        raise BadInput(f"{folder} is a bundle, and no export", "a bundle holds no measurement", advice)
