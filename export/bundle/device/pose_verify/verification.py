"""One verification: run, judge, time and report every runtime with every precision."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Dict

import numpy as np
from pose_runtime.bundle import Bundle
from pose_runtime.engine_cache import write_whole
from pose_runtime.pose import Pose, require_threads
from pose_runtime.runtime.errors import BadInput, Failure, NotPossible
from pose_runtime.runtime.host import require_temporary_folder
from pose_runtime.runtime.pose import normalise
from pose_runtime.runtime.registry import RUNTIMES
from pose_runtime.runtime.session import Session
from pose_runtime.sessions import open_session

from pose_verify.builds import build_missing
from pose_verify.device import describe_device, describe_software
from pose_verify.goldens import Goldens, batch_slices, judge, read_goldens
from pose_verify.latency import Protocol, paired_ratio, summarise, time_rounds
from pose_verify.settings import describe_settings
from pose_verify.table import print_report, replace_line

SCHEMA_VERSION = "1.2"
LARGEST_BATCH = 5
EXIT_CODES = {"fail": 1, "inconclusive": 3, "not run": 4, "pass": 0}
SECONDS = 20.0
CALL = "call"
"""Name of the runtime's whole call, ``pose(image)``, among the timed sessions."""

Row = Dict[str, Any]
"""One runtime with one precision, as the report has it."""


def run_verification(folder: Path, out: Path, options: Any) -> int:
    """Verify the bundle in ``folder``, write the report to ``out`` and print it; return the exit code.

    Raises:
        BadInput: an unknown runtime or precision, an option without effect, or the report cannot be written.
        CheckFailed: a file is not the manifest's.
        NotPossible: there is no folder for temporary files.
    """
    bundle = Bundle(folder)
    require_temporary_folder()
    runtimes, precisions = choose(options.runtime, tuple(RUNTIMES)), choose(options.precision, bundle.precisions)
    check_options(options, runtimes)
    protocol = Protocol(SECONDS if options.seconds is None else options.seconds)
    require_writable(out)
    failed_builds = {} if options.no_build else build_missing(bundle, runtimes, precisions)
    goldens, start = read_goldens(bundle), datetime.datetime.now(datetime.timezone.utc)
    settings = describe_settings()
    rows, sessions = [], {}
    for runtime, precision in ((runtime, precision) for runtime in runtimes for precision in precisions):
        row = empty_row(runtime, precision)
        rows.append(row)
        if runtime == "tensorrt" and precision in failed_builds:
            row.update(failed_builds[precision]._asdict())
            continue
        session = judge_session(bundle, goldens, row, options.threads)
        if session is not None:
            sessions[f"{runtime}/{precision}"] = (row, session)
    overhead = time_sessions(bundle, goldens, sessions, protocol) if protocol.seconds > 0 and sessions else None
    missing = missing_names(rows, options)
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": "device-report",
        "created": start.isoformat(timespec="seconds"),
        "bundle": {
            "id": bundle.id,
            "model": bundle.manifest["model"],
            "weights_origin": bundle.manifest["weights"]["origin"],
            "weights_sha256": bundle.manifest["weights"]["sha256"],
            "golden_source": bundle.manifest["golden"]["source"],
        },
        "device": describe_device(),
        "settings": settings,
        "versions": describe_software(),
        "protocol": protocol.as_json() if protocol.seconds > 0 else None,
        "outcome": overall_outcome(rows, missing),
        "missing": missing,
        "results": rows + other_rows(rows, bundle.precisions, options),
        "overhead": overhead,
    }
    write_whole(out, (json.dumps(report, indent=2, allow_nan=False) + "\n").encode())
    print_report(report, bundle.manifest["weights"]["notice"], out)
    for _, session in sessions.values():
        session.close()
    return EXIT_CODES[report["outcome"]]


def choose(text: str | None, names: tuple[str, ...]) -> tuple[str, ...]:
    """Split ``"fp16,int8"`` into ``("fp16", "int8")``; None is all names.

    Raises:
        BadInput: a name is unknown.
    """
    chosen = names if text is None else tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    unknown = [name for name in chosen if name not in names]
    if unknown:
        problem = "neither this bundle nor its runtime has this name"
        raise BadInput(problem, ", ".join(unknown), f"choose of {', '.join(names)}")
    return chosen


def check_options(options: Any, runtimes: Sequence[str]) -> None:
    """Check values, and that no option is without effect on these runtimes.

    Raises:
        BadInput: a check failed.
    """
    if options.seconds is not None and not 0 <= options.seconds < float("inf"):
        raise BadInput("impossible duration", f"--seconds {options.seconds}", "give a finite number of at least 0")
    require_threads(options.threads)
    if options.no_build and "tensorrt" not in runtimes:
        value = f"--no-build, and {', '.join(runtimes)} builds nothing"
        raise BadInput("--no-build would change nothing", value, "leave it out, or name tensorrt")
    if options.threads is not None and all(RUNTIMES[runtime].on_gpu for runtime in runtimes):
        value = f"--threads {options.threads}, and {', '.join(runtimes)} runs on a GPU"
        raise BadInput("--threads would change nothing", value, "leave it out, or name a runtime of the processor")


def require_writable(out: Path) -> None:
    """Check, before long work, that the report can be written.

    Raises:
        BadInput: it cannot.
    """
    if out.exists() and not out.is_file():
        raise BadInput(f"cannot write {out}", "no plain file lies there", "name a file with --out")
    if not os.access(str(out.parent), os.W_OK):
        raise BadInput(f"cannot write {out}", "no folder, or no right to write there", "name a file with --out")


def empty_row(runtime: str, precision: str) -> Row:
    """Return a row without results."""
    names = ("reason", "build_log", "describe", "threads", "artifact", "artifact_sha256", "computes_in")
    row: Row = {"runtime": runtime, "precision": precision, "asked": True, "status": "not run"}
    return {**row, **dict.fromkeys((*names, "parity", "latency"))}


def judge_session(bundle: Bundle, goldens: Goldens, row: Row, threads: int | None) -> Session | None:
    """Load the row's artifact, run the goldens, and write the judgement into the row; return what may be timed.

    What this machine lacks, such as memory, is no fault of the artifact: the row has not run.
    """
    show_progress(f"{row['runtime']} {row['precision']}")
    try:
        session, artifact, sha256 = open_session(bundle, row["runtime"], row["precision"], threads)
    except (NotPossible, OSError, MemoryError) as reason:
        row.update(reason=describe_failure(reason))
        return None
    except Exception as failure:  # any exception of a runtime fails its row, and no other
        row.update(status="fail", reason=describe_failure(failure))
        return None
    try:
        images = normalise(goldens.images)
        largest = min(LARGEST_BATCH, session.largest_batch or LARGEST_BATCH)
        bins = np.concatenate([session.run(images[part]) for part in batch_slices(len(images), largest)])
        limits = bundle.manifest["budgets"][row["precision"]]["limits"]
        parity = judge(goldens, bins, limits, bundle.manifest["needed_signal_mm"])
        row.update(describe=session.describe(), threads=session.threads_used(), computes_in=computes_in(session))
        row.update(artifact=artifact, artifact_sha256=sha256, parity=parity)
        row.update(status=parity["outcome"], reason=parity["reason"])
    except (OSError, MemoryError) as lack:
        row.update(reason=describe_failure(lack))
    except Exception as failure:
        row.update(status="fail", reason=describe_failure(failure))
    if row["status"] == "pass":
        return session
    session.close()
    return None


def computes_in(session: Session) -> str:
    """Return the types that convolutions compute in, as the runtime reports them."""
    try:
        types = sorted(session.convolution_types())
    except OSError as error:  # ONNX Runtime writes them into a temporary file
        return f"not known: {error}; set TMPDIR to a folder that you may write"
    return " and ".join(types) or "not reported by the runtime; the network is strongly typed"


def describe_failure(failure: Exception) -> str:
    """Return an exception in one line."""
    if isinstance(failure, Failure):
        return str(failure)
    lines = str(failure).strip().splitlines() or ["no reason given"]
    return f"{type(failure).__name__}: {lines[0]}"


def time_sessions(
    bundle: Bundle, goldens: Goldens, sessions: Mapping[str, tuple[Row, Session]], protocol: Protocol
) -> dict[str, Any] | None:
    """Time sessions in rounds, and write latencies into their rows; return the overhead of ``pose(image)``.

    The overhead is relative to the first session of ONNX Runtime, or else to the first of all. A session that raises
    meanwhile is a failed row, which keeps its parity; the others are timed.
    """
    show_progress("latency")
    base = next((name for name in sessions if name.startswith("onnxruntime/")), next(iter(sessions)))
    row, session = sessions[base]
    image = normalise(goldens.images[:1])
    runs: dict[str, Callable[[], object]] = {name: partial(each.run, image) for name, (_, each) in sessions.items()}
    runs[CALL] = partial(Pose(bundle, session, {}), goldens.images[0])

    def report_error(name: str, failure: Exception) -> None:
        reason = f"it failed while latency was measured: {describe_failure(failure)}"
        sessions[base if name == CALL else name][0].update(status="fail", reason=reason)

    rounds_ms = time_rounds(runs, protocol, report_error, lambda count: show_progress(f"latency: {count}"))
    for name, (timed, _) in sessions.items():
        if timed["status"] == "pass":
            timed["latency"] = summarise(rounds_ms[name])
    if row["status"] != "pass":
        return None
    call = summarise(rounds_ms[CALL])
    return {
        "runtime": row["runtime"],
        "precision": row["precision"],
        "network_p50_ms": row["latency"]["p50_ms"],
        "call_p50_ms": call["p50_ms"],
        "share": paired_ratio(rounds_ms[base], rounds_ms[CALL]) - 1,
        "rounds": call["rounds"],
        "samples": call["samples"],
    }


def overall_outcome(rows: Sequence[Mapping[str, Any]], missing: Sequence[str]) -> str:
    """Return the worst outcome: a failed row, an inconclusive one, or a named runtime or precision that did not run.

    Runtimes that nobody named may be missing, as long as one row passed.
    """
    statuses = {row["status"] for row in rows}
    for status in ("fail", "inconclusive"):
        if status in statuses:
            return status
    return "pass" if "pass" in statuses and not missing else "not run"


def missing_names(rows: Sequence[Row], options: Any) -> list[str]:
    """Return what the command line names and did not run: runtimes, precisions or, if both are named, pairs."""
    keys = [key for key in ("runtime", "precision") if getattr(options, key) is not None]
    names = [(" ".join(row[key] for key in keys), row["status"]) for row in rows if keys]
    ran = {name for name, status in names if status != "not run"}
    return [name for name in dict.fromkeys(name for name, _ in names) if name not in ran]


def other_rows(rows: Sequence[Row], precisions: Sequence[str], options: Any) -> list[Row]:
    """Return rows for every other runtime and precision, so that the report lists what was left out."""
    pairs = {(row["runtime"], row["precision"]) for row in rows}
    values = {"--runtime": options.runtime, "--precision": options.precision}
    reason = "not asked for: " + " ".join(f"{name} {value}" for name, value in values.items() if value is not None)
    all_pairs = [(runtime, precision) for runtime in RUNTIMES for precision in precisions]
    return [dict(empty_row(*pair), reason=reason, asked=False) for pair in all_pairs if pair not in pairs]


def show_progress(text: str) -> None:
    """Show progress on stderr, if it is a terminal, in one line."""
    replace_line(f"  {text}")
