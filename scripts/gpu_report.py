"""Report of everything that this project can find out on a GPU, in one small file to send: ``gpu-report.json``.

Run as ``python -m scripts.gpu_report MODEL`` (``make gpu-report``); arguments that it does not know go to ``bench``.
Each step is a command of its own, so a crash is a failed step and the others remain; the file is written after every
step. Exit code 0: every step passed or was skipped with a reason; 1: a step failed; 4: there is no GPU.
"""

import argparse
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Literal

from bench.machine.environment import environment_record
from bench.results.record import Record
from bench.sessions.exported import GPU_RUNTIMES
from cli.signals import INTERRUPTED
from export.common.errors import BadInput, CheckFailed, Failure, Inconclusive, NotPossible
from export.common.files import PROJECT, write_text
from export.common.interface import PRECISIONS
from export.common.records import read_json
from export.engine.plan import RTX_TARGETS, TARGETS_WITHOUT, EnginePlan
from export.engine.record import beside
from export.model.config import load_config
from export.pipeline import recipe
from export.pipeline.layout import MANIFEST, engine_path
from export.pipeline.manifest import read_manifest
from export.runtime.engine_file import TENSORRT, TENSORRT_RTX
from export.runtime.gpu import Gpu, default_gpu

COMMAND = (sys.executable, "-m", "cli.main")
REPORT = "gpu-report.json"
STEP_S = 3600
RESULT_CODES = (0, CheckFailed.exit_code, Inconclusive.exit_code)
"""With other exit codes a command has written nothing, and a file in its place is of an earlier run."""
MESSAGE_CHARACTERS = 2000
TRTEXEC_FOLDER = "/usr/src/tensorrt/bin"
"""Folder of trtexec in NVIDIA's Debian packages and in JetPack; pip's packages do not contain it."""
ABSOLUTE_PATH = re.compile(r"(?:(?<![\w.~/…])|(?<=file://))(?:/[\w.+@~-]+)*/([\w.+@~-]+)")


class Step(Record):
    """One step: a command with its message, and what it found out."""

    name: str
    status: Literal["passed", "failed", "skipped"]
    reason: str
    """The end of a failed command's messages, or why a step was skipped."""
    seconds: float
    result: Any


class GpuReport(Record):
    """The whole file."""

    schema_version: Literal["1.0"] = "1.0"
    kind: Literal["gpu-report"] = "gpu-report"
    created: str
    model: str
    environment: dict[str, Any]
    steps: list[Step]


def gpu_report(model: str, options: argparse.Namespace, bench: Sequence[str]) -> GpuReport:
    """Run every step, and write the report into the model's folder after each.

    Args:
        model: name of a model, or the path of a configuration.
        options: see ``main``.
        bench: further options of the benchmark.

    Raises:
        NotPossible: there is no GPU.
        BadInput: no such model.
    """
    gpu, reason = default_gpu()
    if gpu is None and not options.without_gpu:
        advice = "run it where there is an NVIDIA GPU; --without-gpu tries the steps out on this machine"
        raise NotPossible("there is no GPU to report on", reason, advice)
    folder = options.out / load_config(model).name
    report = GpuReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=folder.name,
        environment=environment_record(),
        steps=[],
    )
    for step in _steps(model, folder, options, bench, gpu):
        report = report.model_copy(update={"steps": [*report.steps, step]})
        write_text(folder / REPORT, packed(report))
        print(f"{step.name}: {step.status}, {step.seconds:.0f} s  {step.reason}".rstrip(), flush=True)
    return report


def packed(report: GpuReport) -> str:
    """Return the report as JSON in one line, without absolute paths and the name of the machine."""
    return json.dumps(_without_places(report.model_dump()), separators=(",", ":"), ensure_ascii=False) + "\n"


def main() -> int:
    """Run every step, print where the report is, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.gpu_report", description=__doc__, allow_abbrev=False)
    parser.add_argument("model", help="XS, S, M, L, XS-atto, or the path of a configuration")
    parser.add_argument("--checkpoint", help="see convnextpose export")
    parser.add_argument("--weights", help="see convnextpose export")
    parser.add_argument("--precision", default=",".join(PRECISIONS), help="precisions to export")
    parser.add_argument("--out", type=Path, default=Path("build"), help="results go to OUT/MODEL")
    parser.add_argument("--without-gpu", action="store_true", help="where there is no GPU, run what this machine can")
    options, bench = parser.parse_known_args()
    try:
        report = gpu_report(options.model, options, bench)
    except Failure as failure:
        print(failure.report(), file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        print("interrupted; the finished steps are in the report", file=sys.stderr)
        return INTERRUPTED
    path = options.out / report.model / REPORT
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB, without paths and the name of this machine")
    return int(any(step.status == "failed" for step in report.steps))


def _steps(
    model: str, folder: Path, options: argparse.Namespace, bench: Sequence[str], gpu: Gpu | None
) -> Iterator[Step]:
    """Run the steps one after another; a step uses the files that the earlier ones have left."""
    yield _run("doctor", ["doctor", "--json", "--out", str(options.out)], json.loads)
    export = ["export", model, "--precision", options.precision, "--out", str(options.out)]
    export += [f"--{name}={value}" for name in ("checkpoint", "weights") if (value := getattr(options, name))]
    if gpu:
        export += ["--engine-runtime", TENSORRT.option]
    exported = _run("export", export, lambda _: _export_result(folder))
    yield exported
    if gpu:
        yield from _rtx_engines(folder, exported.result, gpu)
    runtimes = ["--runtime", ",".join(GPU_RUNTIMES)] if gpu else []
    measured = _run("bench", ["bench", str(folder), "--json", *runtimes, *bench], _bench_result)
    yield measured
    yield from _trtexec(folder, measured.result)


def _rtx_engines(folder: Path, exported: Any, gpu: Gpu) -> Iterator[Step]:
    """Build an engine of TensorRT-RTX for this GPU from each proven file; the export has built those of TensorRT."""
    target, name = gpu.compute_capability, f"engine {TENSORRT_RTX.option}"
    if find_spec(TENSORRT_RTX.module) is None or target not in RTX_TARGETS:
        yield _skipped(name, f"tensorrt_rtx is not installed, or does not know {target}: see the doctor's report")
        return
    for artifact in (exported or {}).get("artifacts", ()):
        precision, path = artifact["precision"], folder / artifact["path"]
        if artifact["status"] not in recipe.PROVEN:
            continue
        if reason := TARGETS_WITHOUT.get(precision, {}).get(target):
            yield _skipped(f"{name} {precision}", reason)
            continue
        engine = folder / engine_path(artifact["path"], TENSORRT_RTX)
        build = ["engine", str(path), "--out", str(engine), "--engine-runtime", TENSORRT_RTX.option]
        result = partial(_engine_result, beside(engine, ".json"))
        yield _run(f"{name} {precision}", [*build, "--targets", target], result)


def _trtexec(folder: Path, measured: Any) -> Iterator[Step]:
    """Time each TensorRT engine with ``trtexec``, by the recipe's command, and compare it with the benchmark."""
    program = shutil.which("trtexec") or shutil.which("trtexec", path=TRTEXEC_FOLDER)
    if program is None:
        yield _skipped("trtexec", "trtexec is not installed")
        return
    try:
        models = recipe.recipes_of(read_manifest(folder / MANIFEST), EnginePlan())
    except BadInput as error:
        models = []
        yield _skipped("trtexec", str(error))
    for model in models:
        name, engine = f"trtexec {model.plan.precision}", folder / model.engine
        if not engine.is_file():
            yield _skipped(name, f"there is no {model.engine}")
            continue
        timed = replace(model, trtexec_engine=model.engine)
        _, *words = timed.time(1, "gpu", recipe.MAJORS[-1])  # the same for each version
        times = folder / next(word.split("=", 1)[1] for word in words if word.startswith("--exportTimes="))
        result = partial(_comparison, times, model.plan.precision, measured)
        yield _timed(name, [program, *words], result, folder)


def _comparison(times: Path, precision: str, measured: Any, _: str) -> dict[str, Any]:
    """Compare the median of trtexec's launches with the benchmark's of the same engine, both by CUDA events."""
    launches = [float(query["computeMs"]) for query in read_json(times, "trtexec's times", "")]
    rows = {(row["runtime"], row["precision"]): row["latency"] for row in (measured or {}).get("rows", ())}
    device = rows.get((TENSORRT.option, precision), {}).get("device")
    bench_ms, trtexec_ms = device and device["p50_ms"], median(launches)
    ratio = bench_ms and bench_ms / trtexec_ms
    return {"launches": len(launches), "trtexec_p50_ms": trtexec_ms, "bench_p50_ms": bench_ms, "ratio": ratio}


def _export_result(folder: Path) -> dict[str, Any]:
    """Return the manifest without what only a reader of the files needs."""
    plain = read_manifest(folder / MANIFEST).model_dump(mode="json")
    for artifact in plain["artifacts"]:
        if artifact["kind"] == "onnx":
            del artifact["details"]
    for report in plain["parity"]:
        del report["runs"]
    return {name: plain[name] for name in ("schema_version", "model", "artifacts", "not_run", "parity", "tools")} | {
        "weights": {name: plain["weights"][name] for name in ("origin", "sha256", "grown_from")}
    }


def _engine_result(record: Path, _: str) -> Any:
    return read_json(record, "engine's record", "")


def _bench_result(text: str) -> dict[str, Any]:
    """Return the result without the long lists that are not about this GPU's speed."""
    plain: dict[str, Any] = json.loads(text)
    del plain["sensors"], plain["environment"]
    for row in plain["rows"]:
        del row["profile"]
    return plain


def _run(name: str, arguments: Sequence[str], result: Callable[[str], Any]) -> Step:
    """Run a command of this project."""
    return _timed(name, [*COMMAND, *arguments], result, Path.cwd())


def _timed(name: str, command: Sequence[str], result: Callable[[str], Any], folder: Path) -> Step:
    """Run a command in ``folder``; ``result`` gets its standard output, also that of a failed one."""
    print(f"{name}: running", flush=True)
    begin, value, reason = time.monotonic(), None, ""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=STEP_S, check=False)
        if done.returncode != 0:
            reason = f"exit code {done.returncode}: {_message(done.stderr.strip() or done.stdout.strip())}"
        if done.returncode in RESULT_CODES:
            value = result(done.stdout)
    except (OSError, subprocess.SubprocessError, Failure, ValueError, KeyError, TypeError) as error:
        reason = reason or f"{type(error).__name__}: {error}"
    seconds = round(time.monotonic() - begin, 1)
    return Step(name=name, status="failed" if reason else "passed", reason=reason, seconds=seconds, result=value)


def _skipped(name: str, reason: str) -> Step:
    return Step(name=name, status="skipped", reason=reason, seconds=0, result=None)


def _message(text: str) -> str:
    """Return the error at the end of a command's messages, or their last lines."""
    begin = text.rfind("error:")
    end = text[begin:] if begin >= 0 else "\n".join(text.splitlines()[-5:])
    return end[-MESSAGE_CHARACTERS:]


def _without_places(value: Any) -> Any:
    """Return plain data without absolute paths and the name of the machine in its texts."""
    if isinstance(value, dict):
        return {_without_places(name): _without_places(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_places(item) for item in value]
    if not isinstance(value, str):
        return value
    for place, name in ((str(PROJECT), "."), (str(Path.home()), "~")):
        value = value.replace(place, name) if len(place) > 1 else value
    value = re.sub(rf"\b{re.escape(socket.gethostname())}\b", "HOST", value)
    return ABSOLUTE_PATH.sub(r"…/\1", value)


if __name__ == "__main__":
    sys.exit(main())
