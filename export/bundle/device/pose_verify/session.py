"""One verification: every runtime with every precision, judged, timed, told, and written down."""

from __future__ import annotations

import datetime
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pose_runtime.bundle import Bundle
from pose_runtime.engine_cache import write_whole
from pose_runtime.pose import MOST_THREADS, Pose
from pose_runtime.preprocessing import Preprocessing
from pose_runtime.runtime.errors import BadInput, Failure, NotPossible
from pose_runtime.runtime.registry import RUNTIMES
from pose_runtime.runtime.session import Session
from pose_runtime.sessions import open_session

from pose_verify.builds import FailedBuild, build_missing
from pose_verify.device import describe_device, describe_software
from pose_verify.goldens import Goldens, in_batches, judge
from pose_verify.latency import Protocol, paired_ratio, summarise, take_turns
from pose_verify.settings import describe_settings
from pose_verify.table import show

SCHEMA_VERSION = "1.2"
LARGEST_BATCH = 5
OUTCOMES = {"fail": 1, "inconclusive": 3, "not run": 4, "pass": 0}
"""Outcome of the whole → exit code."""
SECONDS = 20.0


class Cell(NamedTuple):
    """One runtime with one precision: what is told of it, and the network where it may be timed."""

    result: dict[str, Any]
    network: Session | None

    @property
    def name(self) -> str:
        """For rounds."""
        return f"{self.result['runtime']}/{self.result['precision']}"


def hold_session(folder: Path, report: Path, asked: Any) -> int:
    """Verify the bundle in ``folder``, write ``report`` and show it; returns the exit code.

    Raises:
        BadInput: an unknown runtime or precision, or the report cannot be written.
        CheckFailed: a file is not the manifest's.
    """
    bundle = Bundle(folder)
    runtimes, precisions = chosen(asked.runtime, tuple(RUNTIMES)), chosen(asked.precision, bundle.precisions)
    seconds = SECONDS if asked.seconds is None else asked.seconds
    if not 0 <= seconds < float("inf"):
        raise BadInput("impossible duration", f"--seconds {seconds}", "give a finite number of at least 0")
    if asked.threads is not None and not 1 <= asked.threads <= MOST_THREADS:
        raise BadInput("impossible number of threads", f"--threads {asked.threads}", f"give 1 to {MOST_THREADS}")
    if asked.no_build and "tensorrt" not in runtimes:
        seen = f"--no-build, and {', '.join(runtimes)} builds nothing"
        raise BadInput("--no-build would change nothing", seen, "leave it out, or name tensorrt")
    if asked.threads is not None and all(RUNTIMES[runtime].on_gpu for runtime in runtimes):
        seen = f"--threads {asked.threads}, and {', '.join(runtimes)} runs on a GPU"
        raise BadInput("--threads would change nothing", seen, "leave it out, or name a runtime of the processor")
    require_writable(report)
    unbuilt = {} if asked.no_build else build_missing(bundle, folder, runtimes, precisions)
    goldens, started = Goldens.of(bundle), datetime.datetime.now(datetime.timezone.utc)
    settings = describe_settings()
    cells = [
        unbuilt_cell(p, unbuilt[p])
        if r == "tensorrt" and p in unbuilt
        else judged(bundle, goldens, r, p, asked.threads)
        for r in runtimes
        for p in precisions
    ]
    protocol = Protocol(seconds)
    overhead = time_cells(bundle, goldens, cells, protocol) if seconds > 0 else None
    results = [cell.result for cell in cells]
    missing = named_and_missing(results, asked.runtime is not None, asked.precision is not None)
    outcome = outcome_of(results, missing)
    written: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": "device-report",
        "created": started.isoformat(timespec="seconds"),
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
        "protocol": protocol.as_json() if seconds > 0 else None,
        "outcome": outcome,
        "missing": missing,
        "results": results + not_asked(results, bundle.precisions, asked),
        "overhead": overhead,
    }
    write_whole(report, (json.dumps(written, indent=2, allow_nan=False) + "\n").encode())
    show(written, bundle.manifest, report)
    for cell in cells:
        if cell.network is not None:
            cell.network.close()
    return OUTCOMES[outcome]


def outcome_of(results: Sequence[Mapping[str, Any]], missing: Sequence[str]) -> str:
    """The outcome of the whole: what failed or could not be decided outranks all; then what was named and did not run.

    Runtimes that nobody named may be absent, as long as something has passed.
    """
    found = {result["status"] for result in results}
    for name in ("fail", "inconclusive"):
        if name in found:
            return name
    return "pass" if "pass" in found and not missing else "not run"


def named_and_missing(results: Sequence[Mapping[str, Any]], runtimes: bool, precisions: bool) -> list[str]:
    """What was named on the command line and did not run: runtimes, precisions, or, if both were named, pairs."""
    keys = [name for name, named in (("runtime", runtimes), ("precision", precisions)) if named]
    if not keys:
        return []
    ran = {tuple(r[key] for key in keys) for r in results if r["status"] != "not run"}
    wanted = dict.fromkeys(tuple(r[key] for key in keys) for r in results)
    return [" ".join(one) for one in wanted if one not in ran]


def not_asked(results: Sequence[Mapping[str, Any]], precisions: Sequence[str], asked: Any) -> list[dict[str, Any]]:
    """Rows for every other runtime and precision, so that a report tells what it is silent about."""
    there = {(result["runtime"], result["precision"]) for result in results}
    given = {"--runtime": asked.runtime, "--precision": asked.precision}
    reason = "not asked for: " + " ".join(f"{name} {value}" for name, value in given.items() if value is not None)
    pairs = [(r, p) for r in RUNTIMES for p in precisions if (r, p) not in there]
    return [dict(empty_row(runtime, precision), reason=reason, asked=False) for runtime, precision in pairs]


def empty_row(runtime: str, precision: str) -> dict[str, Any]:
    """A row of which nothing is known yet."""
    row: dict[str, Any] = {"runtime": runtime, "precision": precision, "asked": True, "status": "not run"}
    names = ("reason", "build_log", "describe", "threads", "artifact", "artifact_sha256", "computes_in")
    return {**row, **dict.fromkeys((*names, "parity", "latency"))}


def unbuilt_cell(precision: str, build: FailedBuild) -> Cell:
    """The row of an engine whose build was tried: its error, and the end of its log."""
    row = empty_row("tensorrt", precision)
    return Cell(dict(row, status=build.status, reason=build.reason, build_log=build.log), None)


def judged(bundle: Bundle, goldens: Goldens, runtime: str, precision: str, threads: int | None) -> Cell:
    """Load, run the goldens, judge; what is not possible here is said, and is no failure."""
    result = empty_row(runtime, precision)
    say(f"{runtime} {precision}")
    try:
        network, artifact, sha256 = open_session(bundle, runtime, precision, threads)
    except NotPossible as reason:
        return Cell(dict(result, reason=str(reason)), None)
    except Exception as failure:  # whatever a runtime raises is that row's end, and not the others'
        return Cell(dict(result, status="fail", reason=in_words(failure)), None)
    try:
        inputs = Preprocessing.of(bundle.manifest).normalise(goldens.images)
        largest = min(LARGEST_BATCH, network.largest_batch or LARGEST_BATCH)
        bins = np.concatenate([network.run(inputs[a:b]) for a, b in in_batches(len(inputs), largest)])
        about = bundle.manifest["budgets"][precision]
        parity = judge(goldens, bins, about["limits"], bundle.manifest["needed_signal_mm"])
        result.update(describe=network.describe(), threads=network.threads_used(), computes_in=computes_in(network))
    except Exception as failure:
        network.close()
        return Cell(dict(result, status="fail", reason=in_words(failure)), None)
    result.update(artifact=artifact, artifact_sha256=sha256, parity=parity)
    result.update(status=parity["outcome"], reason=parity["reason"])
    if parity["outcome"] != "pass":
        network.close()
        return Cell(result, None)
    return Cell(result, network)


def computes_in(network: Session) -> str:
    """Return the types that convolutions compute in."""
    types = sorted(network.convolution_types())
    return " and ".join(types) or "not told by the runtime; the network is strongly typed"


def in_words(failure: Exception) -> str:
    """What went wrong, in a line."""
    if isinstance(failure, Failure):
        return str(failure)
    said = str(failure).strip().splitlines() or ["no reason given"]
    return f"{type(failure).__name__}: {said[0]}"


def time_cells(bundle: Bundle, goldens: Goldens, cells: list[Cell], protocol: Protocol) -> dict[str, Any] | None:
    """Time what has passed, in turns; returns what the runtime's own Python adds to the first of ONNX Runtime's.

    A runtime that breaks meanwhile is a row that failed; what was found before stays in it, and the others are timed.
    """
    timed = {cell.name: cell for cell in cells if cell.network is not None}
    if not timed:
        return None
    say("latency")
    one = Preprocessing.of(bundle.manifest).normalise(goldens.images[:1])
    runs: dict[str, Callable[[], object]] = {}
    for name, cell in timed.items():
        assert cell.network is not None
        runs[name] = lambda run=cell.network.run: run(one)  # type: ignore[misc]
    base = next((name for name in timed if name.startswith("onnxruntime/")), next(iter(timed)))
    network = timed[base].network
    assert network is not None
    pose, image = Pose(bundle, network, {}), goldens.images[0]

    def broke(name: str, failure: Exception) -> None:
        reason = f"it broke while latency was measured: {in_words(failure)}"
        timed[base if name == "call" else name].result.update(status="fail", reason=reason)

    told = {"told": lambda rounds: say(f"latency: {rounds}"), "broke": broke}
    taken = take_turns({**runs, "call": lambda: pose(image)}, protocol, **told)  # type: ignore[arg-type]
    for name, cell in timed.items():
        if cell.result["status"] == "pass":
            cell.result["latency"] = summarise(taken[name])
    if timed[base].result["status"] != "pass":
        return None
    ratio, call = paired_ratio(taken[base], taken["call"]), summarise(taken["call"])
    bare = timed[base].result["latency"]["p50_ms"]
    share = None if ratio is None else ratio - 1
    said = {"runtime": base.split("/")[0], "precision": base.split("/")[1], "network_p50_ms": bare}
    return dict(said, call_p50_ms=call["p50_ms"], share=share, rounds=call["rounds"], samples=call["samples"])


def chosen(text: str | None, there: tuple[str, ...]) -> tuple[str, ...]:
    """``"fp16,int8"`` → ``("fp16", "int8")``; None is all.

    Raises:
        BadInput: one is not there.
    """
    asked = there if text is None else tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    unknown = [name for name in asked if name not in there]
    if unknown:
        raise BadInput(
            "this bundle, or its runtime, knows no such thing", ", ".join(unknown), f"choose of {', '.join(there)}"
        )
    return asked


def require_writable(report: Path) -> None:
    """See, before long work, that the report can be written.

    Raises:
        BadInput: it cannot.
    """
    if report.exists() and not report.is_file():
        raise BadInput(f"cannot write {report}", "no plain file lies there", "name a file with --out")
    if not os.access(str(report.parent), os.W_OK):
        raise BadInput(f"cannot write {report}", "no folder, or no right to write there", "name a file with --out")


def say(text: str) -> None:
    """Progress, on stderr; on a terminal in one line."""
    if sys.stderr.isatty():
        print(f"\r\033[K  {text}", end="", file=sys.stderr, flush=True)
