"""The files of a page of devices, each whole or not at all."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report.devices.told import Devices, Told, row_names
from bench.report.subject import Row
from bench.report.table_csv import row_cells

COLUMNS = (
    *("device", "machine", "model", "weights", "runtime", "precision", "computes", "verdict", "recommended", "parity"),
    *("drift_mean_mm", "drift_max_mm", "boundary", "samples", "rounds", "p50_ms", "p90_ms", "p99_ms", "reference"),
    *("speed_up", "speed_up_low", "speed_up_high", "file", "file_sha256", "not_run", "reasons"),
)


@dataclass(frozen=True)
class DevicesReport:
    """What was written, and what it says."""

    folder: Path
    files: tuple[Path, ...]
    devices: Devices

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "title": self.devices.title,
            "files": [str(path) for path in self.files],
            "told": [_plain(one) for one in self.devices.told],
        }


def devices_csv(of: Devices) -> str:
    """A line for each device, model and row; of what did not run, why."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for model in of.models:
        told = of.of(model)
        for one in told:
            writer.writerows(_lines(one, row_names(told)))
    return text.getvalue()


def _lines(one: Told, names: list[str]) -> Iterator[dict[str, object]]:
    about = {"device": one.device.name, "machine": one.device.machine, "model": one.model, "weights": one.weights}
    chosen = one.recommended.row
    for name in names:
        runtime, _, precision = name.partition(" ")
        found: dict[str, object] = {"runtime": runtime, "precision": precision}
        row = one.row(name)
        found |= {"not_run": one.why_not(name)} if row is None else _row(one, row, recommended=row is chosen)
        yield about | found
    if not names:
        yield {**about, "not_run": one.missing}


def _row(one: Told, row: Row, *, recommended: bool) -> dict[str, object]:
    timing = row.headline
    return row_cells(one.model, row, timing.boundary if timing else None, recommended=recommended) | {
        "reference": one.reference,
        "file_sha256": row.file_sha256,
    }


def _plain(one: Told) -> dict[str, Any]:
    found = one.recommended
    row, up = found.row, found.row.speed_up if found.row else None
    return {
        "device": one.device.name,
        "machine": one.device.machine,
        "model": one.model,
        "source": one.source,
        "weights": None if one.missing else one.weights,
        "recommended": row.id if row else None,
        "p50_ms": row.headline.p50_ms if row and row.headline else None,
        "reference": one.reference,
        "speed_up": {"median": up.median, "low": up.low, "high": up.high} if up else None,
        "verdict": row.verdict if row else None,
        "parity": row.drift.status if row and row.drift else None,
        "reason": found.reason,
        "passed_over": list(found.passed_over),
        "missing": one.missing,
    }
