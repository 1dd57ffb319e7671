"""Cells that the gate cannot compare, each with its reason, so that losing one is never a pass."""

from collections.abc import Sequence

from bench.gate.decision import Decision
from bench.harness.candidates import Candidate
from bench.results.result import NotRunRow
from bench.sessions.exported import TORCH_FORMS, ExportFolder
from export.runtime.onnx_runtime import NO_BF16

Side = tuple[Sequence[Candidate], Sequence[NotRunRow]]
"""Candidates and skipped rows of one side, as ``find_candidates`` returns them."""

LOST_PRECISION = Decision("FAIL", ("the candidate's export has lost this precision",))


def missing_cells(
    baseline: ExportFolder,
    candidate: ExportFolder,
    runtimes: Sequence[str],
    baseline_rows: Side,
    candidate_rows: Side,
) -> dict[str, Decision]:
    """Return decisions by cell, ``runtime/precision`` or the runtime alone.

    A precision that the candidate's export has lost fails: no quieter machine changes that. A runtime or engine that
    cannot run here is inconclusive. No cell is made of what no machine can run, and of the candidate's new precisions.
    """
    cells: dict[str, Decision] = {}
    lost = set(baseline.precisions) - set(candidate.precisions)
    for present in baseline_rows[0]:
        if present.runtime not in TORCH_FORMS and present.precision in lost:
            cells[_cell_id(present)] = LOST_PRECISION
    for side, skipped in (("baseline", baseline_rows[1]), ("candidate", candidate_rows[1])):
        for row in skipped:
            cell = _cell_id(row)
            if row.runtime not in runtimes or row.reason == NO_BF16:
                continue
            if row.precision in lost:
                cells[cell] = LOST_PRECISION
            elif row.precision is None or row.precision in baseline.precisions:
                earlier = cells[cell].reasons if cell in cells else ()
                cells[cell] = Decision("INCONCLUSIVE", (*earlier, f"the {side} cannot run here: {row.reason}"))
    return cells


def _cell_id(row: Candidate | NotRunRow) -> str:
    return f"{row.runtime}/{row.precision}" if row.precision else row.runtime
