"""Build one engine by TensorRT or TensorRT-RTX in a child process, and write its record and log beside it.

``<engine>`` is the serialised engine, ``<engine>.log`` the builder's log, ``<engine>.json`` the record. The record is
written last, so an engine without one is unfinished. After a failed build the log is ``<engine>.failed.log``, until a
later build succeeds; an earlier engine stays.

No NVIDIA library is loaded into this process: a crash of the builder, or Ctrl-C, ends the child only.
"""

import json
import platform
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter

from export.common.errors import BadInput, CheckFailed, Failure, Inconclusive, NotPossible
from export.common.files import PROJECT, sha256_file, whole_file, write_json, write_text
from export.common.progress import Progress, no_progress
from export.engine.choice import TO_INSTALL, Choice, choose_runtime, complete_plan
from export.engine.plan import BuildJob, EnginePlan
from export.engine.record import SCHEMA_VERSION, BuildResult, EngineRecord, beside
from export.runtime.engine_file import HEADER_BYTES, Product, wrong_header

WORKER = (sys.executable, "-X", "faulthandler", "-m", "export.engine.worker")
FAILED_LOG = ".failed.log"
FAILURES = {kind.exit_code: kind for kind in (CheckFailed, BadInput, Inconclusive, NotPossible)}


def build_engine(
    onnx_path: Path,
    engine_path: Path,
    plan: EnginePlan,
    progress: Progress = no_progress,
    *,
    kept_in: Path | None = None,
) -> EngineRecord:
    """Build ``engine_path`` from ``onnx_path``, and write its log and its record beside it.

    An earlier engine and its record stay until the new engine is whole.

    Args:
        onnx_path: the model.
        engine_path: the engine to write.
        plan: settings.
        progress: called before the library is loaded and before it builds.
        kept_in: folder for the log of a failed build; by default the engine's.

    Raises:
        BadInput: the ONNX file does not fit (unreadable, other names, types or shapes), the library would ignore a
            setting, the workspace is too small, or the folder cannot be written.
        CheckFailed: the file does not keep its precision, the builder refused, logged an error, died, or wrote
            another file than it reported.
        NotPossible: neither TensorRT nor TensorRT-RTX can build here.
    """
    choice = choose_runtime(plan.runtime)
    if choice.product is None:
        raise NotPossible("no engine can be built here", choice.reason, TO_INSTALL)
    plan = complete_plan(plan, choice)
    _check_paths(onnx_path, engine_path)
    failed_log, log = (kept_in or engine_path.parent) / (engine_path.name + FAILED_LOG), list[str]()
    try:
        with whole_file(engine_path) as partial:
            job = BuildJob(
                product=choice.product.module,
                onnx=onnx_path.resolve(),
                engine=partial.resolve(),
                plan=plan,
                inspect=not _why_no_inspection(plan, choice),
            )
            result = _run_worker(job, progress, log)
            record = _make_record(job, choice, result, log)
            beside(engine_path, ".json").unlink(missing_ok=True)  # never an old record beside a new engine
    except CheckFailed as failure:
        if not log:
            raise
        write_text(failed_log, "\n".join(log) + "\n")
        advice = f"{failure.advice}; the builder's log: {failed_log}"
        raise CheckFailed(failure.problem, failure.detail, advice) from failure
    write_text(beside(engine_path, ".log"), "\n".join(log) + "\n")
    write_json(beside(engine_path, ".json"), asdict(record))
    failed_log.unlink(missing_ok=True)
    progress(record.status, 1.0)
    return record


def _make_record(job: BuildJob, choice: Choice, result: BuildResult, log: list[str]) -> EngineRecord:
    assert choice.product is not None
    plan, targets = job.plan, job.plan.targets or ()
    not_inspected = _why_no_inspection(plan, choice)
    if result.inspected and not result.inspected.has_types:
        not_inspected = "the inspector names no types"
    return EngineRecord(
        **vars(result),
        schema_version=SCHEMA_VERSION,
        status=f"built for {'SM ' + ', '.join(targets) if targets else choice.tunes_on}; not run",
        not_run=choice.no_gpu or "building runs nothing; `convnextpose bench` and `predict` do",
        runtime=choice.product.module,
        chosen=choice.reason,
        built_on=f"{platform.system()} {platform.machine()}",
        gpu=choice.tunes_on,
        targets=targets,
        not_inspected=not_inspected,
        workspace_bytes=plan.workspace_bytes,
        optimization_level=plan.optimization_level,
        hardware_compatible=plan.hardware_compatible,
        version_compatible=plan.version_compatible,
        warnings=tuple(dict.fromkeys(line.removeprefix("WARNING ") for line in log if line.startswith("WARNING "))),
        engine_sha256=sha256_file(job.engine),
        plan_version=check_engine_file(job.engine, choice.product, result),
    )


def _why_no_inspection(plan: EnginePlan, choice: Choice) -> str:
    """Return why this machine cannot load the engine that it builds; empty if it can."""
    if choice.gpu is None:
        return f"no GPU loads it here: {choice.no_gpu}"
    if plan.targets is not None and choice.gpu.compute_capability not in plan.targets:
        return f"{choice.gpu} is none of the GPUs that it was built for"
    return ""


def check_engine_file(path: Path, product: Product, result: BuildResult) -> str:
    """Return the version in a new engine's header, after comparing the file with the builder's report.

    Raises:
        CheckFailed: another magic, version or size.
    """
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    size = path.stat().st_size
    problem = wrong_header(header, product, result.package_version, compatible=False)
    if not problem and size != result.size_bytes:
        problem = f"{size} bytes in place of {result.size_bytes}"
    if problem:
        raise CheckFailed(f"the written file is no {product.name} engine", problem, "build again")
    return ".".join(map(str, header[24:]))


def _check_paths(onnx_path: Path, engine_path: Path) -> None:
    if not (onnx_path.is_file() and onnx_path.stat().st_size > 0):
        detail = "empty" if onnx_path.is_file() else "no such file"
        raise BadInput(f"no ONNX model in {onnx_path}", detail, "export the model first")
    if engine_path.is_dir() or engine_path.resolve() == onnx_path.resolve():
        detail = "a folder" if engine_path.is_dir() else "the ONNX model itself"
        raise BadInput(f"cannot write the engine to {engine_path}", detail, "choose another path for the engine")


def _run_worker(job: BuildJob, progress: Progress, log: list[str]) -> BuildResult:
    """Return the worker's result after its process has ended, and add the builder's log to ``log``."""
    result: BuildResult | None = None
    failure: Failure | None = None
    command = [*WORKER, TypeAdapter(BuildJob).dump_json(job).decode()]
    with tempfile.TemporaryFile() as stderr:
        # The worker ends when its stdin closes, which happens even if this process is killed.
        child = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            for line in child.stdout:
                match json.loads(line) if line.endswith(b"}\n") else None:
                    case {"log": str(text)}:
                        log.append(text)
                    case {"progress": str(text)}:
                        progress(text)
                    case {"failure": [problem, detail, advice], "exit_code": code}:
                        failure = FAILURES[code](problem, detail, advice)
                    case {"result": dict(fields)}:
                        result = TypeAdapter(BuildResult).validate_python(fields)
            status = child.wait()
        finally:
            child.kill()
            child.wait()
            child.stdin.close()
            child.stdout.close()
        stderr.seek(0)
        log += [f"STDERR {line}" for line in stderr.read().decode(errors="replace").splitlines()]
    if failure is not None:
        raise failure
    if result is None or status != 0:
        cause = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        advice = "if it was SIGKILL, memory ran out: close other programs; otherwise the lines above say where it died"
        raise CheckFailed(f"the builder died on {job.onnx}", "; ".join([cause, *log[-8:]]), advice)
    return result
