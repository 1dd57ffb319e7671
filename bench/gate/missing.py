"""What the gate was asked to compare and cannot: each a cell with its reason, so that losing it is never a pass."""

from collections.abc import Sequence

from bench.gate.decision import Judged
from bench.harness.candidates import Candidate
from bench.results.result import NotRunRow
from bench.sessions.exported import TORCH_FORMS, ExportFolder
from export.runtime.onnx_runtime import NO_BF16

Found = tuple[Sequence[Candidate], Sequence[NotRunRow]]
"""What ``find_candidates`` says of one side."""

LOST = Judged("FAIL", ("the candidate's export has lost this precision",))


def absent(
    base: ExportFolder, candidate: ExportFolder, runtimes: Sequence[str], ours: Found, theirs: Found
) -> dict[str, Judged]:
    """Cells by name, ``runtime/precision`` or the runtime alone.

    A precision that the candidate's export has lost fails: it is a fact of the files, which no quieter machine changes.
    What cannot run here, a runtime or an engine of either side, is inconclusive. What no machine can run is no cell,
    nor is a precision that the candidate alone has.

    Args:
        base: the baseline.
        candidate: the candidate.
        runtimes: those that were asked for.
        ours: what can run of the baseline, and what cannot.
        theirs: the same of the candidate.
    """
    cells: dict[str, Judged] = {}
    lost = set(base.precisions) - set(candidate.precisions)
    for found in ours[0]:
        if found.runtime not in TORCH_FORMS and found.precision in lost:
            cells[_name(found)] = LOST
    for side, rows in (("baseline", ours[1]), ("candidate", theirs[1])):
        for row in rows:
            if row.runtime not in runtimes or row.reason == NO_BF16:
                continue
            if row.precision in lost:
                cells[_name(row)] = LOST
            elif row.precision is None or row.precision in base.precisions:
                earlier = cells[_name(row)].reasons if _name(row) in cells else ()
                reason = f"the {side} cannot run here: {row.reason}"
                cells[_name(row)] = Judged("INCONCLUSIVE", (*earlier, reason))
    return cells


def _name(of: Candidate | NotRunRow) -> str:
    return f"{of.runtime}/{of.precision}" if of.precision else of.runtime
