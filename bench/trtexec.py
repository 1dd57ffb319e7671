"""What ``trtexec --exportTimes`` wrote, against a row of ours: two runs, so medians and no interval."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.agreement import TOLERANCE
from bench.result import Result, Row
from bench.statistics import Values, percentile_floor
from bench.worker import DEVICE
from export.errors import BadInput

COMPUTE = "computeMs"
"""Between the CUDA events around the enqueued kernels, for one query; TensorRT 8 to 11 write it by this name."""

TENSORRT_RUNTIMES = ("tensorrt", "tensorrt-rtx")


@dataclass(frozen=True)
class TrtexecComparison:
    """Medians of GPU time, and whether they are within the tolerance."""

    row: str
    boundary: str
    ours_ms: float
    trtexec_ms: float
    queries: int
    ratio: float
    """trtexec's over ours."""
    outcome: Literal["agree", "disagree", "inconclusive"]
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"schema_version": "1.0", "kind": "trtexec", "tolerance": TOLERANCE, **asdict(self)}


def read_times(path: Path) -> Values:
    """(queries,) GPU time in ms of each query in a file of ``--exportTimes``.

    Raises:
        BadInput: it is no such file, or a time is not a positive number.
    """
    do = "write it with trtexec --exportTimes=FILE.json, as recipe.md does"
    try:
        plain = json.loads(path.read_bytes())
        times = np.asarray([query[COMPUTE] for query in plain], np.float64)
    except OSError as error:
        raise BadInput(f"cannot read {path}", error.strerror or str(error), do) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        seen = f"no {COMPUTE} in a query" if isinstance(error, KeyError) else str(error)
        raise BadInput(f"{path} does not hold trtexec's times", seen, do) from error
    if not len(times) or not (np.isfinite(times) & (times > 0)).all():
        raise BadInput(f"{path} does not hold trtexec's times", "no query, or a time that is not positive", do)
    return times


def compare_trtexec(result: Result, times_ms: Values, identity: str | None = None) -> TrtexecComparison:
    """Compare the median with the boundary ``device`` of a row.

    Args:
        result: of ``convnextpose bench``.
        times_ms: (queries,) of ``read_times``.
        identity: of the row; by default the only one of TensorRT.

    Raises:
        BadInput: there is no such row, or it has no GPU time.
    """
    row = _row(result, identity)
    ours, theirs = row.latency[DEVICE].p50_ms, float(np.median(times_ms))
    ratio, floor = theirs / ours, percentile_floor(0.5)
    outcome: Literal["agree", "disagree", "inconclusive"]
    outcome = "agree" if 1 / (1 + TOLERANCE) <= ratio <= 1 + TOLERANCE else "disagree"
    reason = f"trtexec's median is {ratio:.4f} times ours"
    if row.verdict not in ("stable", "noisy"):
        outcome, reason = "inconclusive", f"our row is {row.verdict}: {'; '.join(row.reasons)}"
    elif min(times_ms.size, row.latency[DEVICE].samples) < floor:
        outcome, reason = "inconclusive", f"fewer than {floor} queries"
    return TrtexecComparison(row.id, DEVICE, ours, theirs, times_ms.size, ratio, outcome, reason)


def _row(result: Result, identity: str | None) -> Row:
    timed = [row for row in result.rows if DEVICE in row.latency]
    there = ", ".join(row.id for row in timed) or "none"
    if identity is None:
        found = [row for row in timed if row.runtime in TENSORRT_RUNTIMES]
        what = "the result has no row of TensorRT with GPU times, or several"
    else:
        found = [row for row in timed if row.id == identity]
        what = f"the result has no row {identity} with times by the device's own clock"
    if len(found) != 1:
        raise BadInput(what, f"rows with such times: {there}", "name one with --row")
    return found[0]
