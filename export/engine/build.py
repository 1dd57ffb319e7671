"""Engines: one plan, built by TensorRT or by TensorRT-RTX in a child process, with a record beside it.

``<engine>`` is the serialised plan, ``<engine>.log`` the builder's log, ``<engine>.json`` the record. The record is
written last, so an engine without one is unfinished. Where the builder fails, its log is ``<engine>.failed.log``, which
goes when a later build succeeds; an engine that was there before stays.

No NVIDIA library is loaded into this process: a crash of the builder, or Ctrl-C, ends the child only.
"""

import json
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.common.errors import BadInput, CheckFailed, Failure, Inconclusive, NotPossible
from export.common.files import PROJECT, sha256_file, whole_file, write_json, write_text
from export.common.gpu import Gpu
from export.common.progress import Progress, no_progress
from export.common.records import read_record
from export.engine.choice import Choice, choose_runtime, honoured
from export.engine.layers import EngineLayers
from export.engine.plan import AUTO, NONE, Backend, EnginePlan
from export.runtime.engine_network import Convolutions

SCHEMA_VERSION = 5
WORKER = (sys.executable, "-X", "faulthandler", "-m", "export.engine.worker")
FAILED_LOG = ".failed.log"
FAILURES = {kind.exit_code: kind for kind in (CheckFailed, BadInput, Inconclusive, NotPossible)}


@dataclass(frozen=True)
class Profile:
    """The range of shapes of the one input that an engine accepts, NCHW."""

    input: str
    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


@dataclass(frozen=True)
class EngineRecord:
    """What was built, from what, by what, and whether it ever ran."""

    schema_version: int
    status: str
    not_run: str
    """Why it has not run."""
    runtime: str
    chosen: str
    """Why this runtime built it, and no other."""
    package_version: str
    """What the library says of itself."""
    built_on: str
    gpu: Gpu | None
    """The GPU that the builder tuned on; None: compiled ahead of time, for ``targets``."""
    targets: tuple[str, ...]
    precision: str
    layer_types: dict[str, dict[str, int]]
    """Kind of layer → type of what it gives → how many, in the strongly typed network that the builder was given."""
    convolutions: Convolutions
    """Of that network."""
    inspected: EngineLayers | None
    """What the built engine's inspector says of its layers; None: it was not asked."""
    not_inspected: str
    """Why it was not asked, or what it left open; empty where it told the types of layers."""
    tf32: bool
    """Read back from the builder. On, multiplications of FP32 tensors keep 10 bits of mantissa."""
    profile: Profile
    workspace_bytes: int
    optimization_level: int
    timing_cache: str | None
    """The folder that keeps what was learnt of the GPU; None: nothing was kept."""
    hardware_compatible: bool
    version_compatible: bool
    build_seconds: float
    size_bytes: int
    """Code, graph and weights: no measure of how well the weights compress."""
    weight_bytes: int | None
    scratch_bytes: int | None
    activation_bytes: int | None
    warnings: tuple[str, ...]
    onnx_sha256: str
    engine_sha256: str
    engine_reproducible: bool
    """False: the same inputs give other bytes each time, so only the ONNX hash and the options are an identity."""
    plan_magic: str
    plan_version: str


def build_engine(
    onnx_path: Path,
    engine_path: Path,
    plan: EnginePlan,
    progress: Progress = no_progress,
    *,
    kept_in: Path | None = None,
) -> EngineRecord:
    """Build ``engine_path`` from ``onnx_path``, and write its log and its record beside it.

    Until the new engine is whole, one that was there before stays, with its record. In ``kept_in``, or else in the
    engine's own folder, stays what outlives a build: the log of one that failed, and what the builder learns of a GPU.

    Raises:
        BadInput: the ONNX file does not fit (unreadable, other names, types or shapes), the plan cannot be honoured
            (targets for TensorRT, too little workspace), or the folder cannot be written.
        CheckFailed: the file does not keep its precision, the builder refused, logged an error, died, or wrote what it
            should not have.
        NotPossible: neither TensorRT nor TensorRT-RTX can build here.
    """
    choice = choose_runtime(plan.runtime)
    if choice.backend is None:
        do = "install tensorrt-rtx (x86-64, needs no GPU), or tensorrt where there is an NVIDIA GPU"
        raise NotPossible("no engine can be built here", choice.reason, do)
    plan = honoured(plan, choice)
    _check_paths(onnx_path, engine_path)
    folder = kept_in or engine_path.parent
    failed_log, log = folder / (engine_path.name + FAILED_LOG), list[str]()
    try:
        record = _build(onnx_path, engine_path, plan, choice, folder, log, progress)
    except CheckFailed as failure:
        if not log:
            raise
        write_text(failed_log, "\n".join(log) + "\n")
        raise CheckFailed(
            failure.problem, failure.found, f"{failure.advice}; the builder's log: {failed_log}"
        ) from failure
    write_text(beside(engine_path, ".log"), "\n".join(log) + "\n")
    write_json(beside(engine_path, ".json"), asdict(record))
    failed_log.unlink(missing_ok=True)
    progress(record.status, 1.0)
    return record


def _build(
    onnx_path: Path,
    engine_path: Path,
    plan: EnginePlan,
    choice: Choice,
    kept_in: Path,
    log: list[str],
    progress: Progress,
) -> EngineRecord:
    """Write the engine, whole, and add to ``log`` what the builder says meanwhile."""
    backend = choice.backend
    assert backend is not None
    cache = _timing_folder(plan, choice, kept_in)
    not_inspected = _cannot_load(plan, choice)
    with whole_file(engine_path) as partial:
        job = {
            "backend": backend.module,
            "onnx": str(onnx_path.resolve()),
            "engine": str(partial.resolve()),
            "plan": asdict(plan),
            "timing_cache": {"folder": str(cache), "gpu": choice.tunes_on.kind} if cache and choice.tunes_on else None,
            "loads": not not_inspected,
        }
        result = _run_worker(job, progress, log)
        plan_version = check_plan_file(partial, backend, result["package_version"], result["size_bytes"])
        targets = plan.targets or ()
        inspected = result["inspected"] and EngineLayers(**result["inspected"])
        if inspected and not inspected.told:
            not_inspected = "the inspector names no types"
        record = EngineRecord(
            schema_version=SCHEMA_VERSION,
            status=f"built for {'SM ' + ', '.join(targets) if targets else choice.tunes_on}; not run",
            not_run=choice.no_gpu or "building runs nothing; `convnextpose bench` and `predict` do",
            runtime=backend.module,
            chosen=choice.reason,
            package_version=result["package_version"],
            built_on=f"{platform.system()} {platform.machine()}",
            gpu=choice.tunes_on,
            targets=targets,
            precision=result["precision"],
            layer_types=result["layer_types"],
            convolutions=Convolutions(**result["convolutions"]),
            inspected=inspected,
            not_inspected=not_inspected,
            tf32=result["tf32"],
            profile=Profile(result["input"], *(tuple(shape) for shape in result["shapes"])),
            workspace_bytes=plan.workspace_bytes,
            optimization_level=plan.optimization_level,
            timing_cache=str(cache) if cache else None,
            hardware_compatible=plan.hardware_compatible,
            version_compatible=plan.version_compatible,
            build_seconds=result["build_seconds"],
            size_bytes=result["size_bytes"],
            weight_bytes=bytes_in_log(log, "Total Weights Memory"),
            scratch_bytes=bytes_in_log(log, "Max Scratch Memory"),
            activation_bytes=bytes_in_log(log, "Total Activation Memory"),
            warnings=tuple(dict.fromkeys(line.removeprefix("WARNING ") for line in log if line.startswith("WARNING "))),
            onnx_sha256=result["onnx_sha256"],
            engine_sha256=sha256_file(partial),
            engine_reproducible=False,
            plan_magic=backend.magic,
            plan_version=plan_version,
        )
        beside(engine_path, ".json").unlink(missing_ok=True)  # never an old record beside a new engine
    return record


def _timing_folder(plan: EnginePlan, choice: Choice, kept_in: Path) -> Path | None:
    """Where timings are kept; None: nowhere, or nothing is timed."""
    if choice.tunes_on is None or plan.timing_cache == NONE:
        return None
    return (kept_in / "timing" if plan.timing_cache == AUTO else Path(plan.timing_cache)).resolve()


def _cannot_load(plan: EnginePlan, choice: Choice) -> str:
    """Why this machine cannot load the engine that it builds; empty if it can."""
    if choice.gpu is None:
        return f"no GPU loads it here: {choice.no_gpu}"
    if plan.targets is not None and choice.gpu.compute_capability not in plan.targets:
        return f"{choice.gpu} is none of the GPUs that it was built for"
    return ""


def require_planned(record: EngineRecord, quantised: int) -> None:
    """See that as many convolutions are in int8 as were to be quantised.

    Raises:
        CheckFailed: more, or fewer.
    """
    if record.convolutions.int8 != quantised:
        what, do = "an engine's network is not the int8 plan's", "this is a defect of the exporter; report it"
        seen = f"{record.convolutions.int8} of {record.convolutions.total} convolutions in int8, planned: {quantised}"
        raise CheckFailed(what, seen, do)


def read_engine_record(path: Path) -> EngineRecord:
    """Read ``<engine>.json``, the record of an engine.

    Raises:
        BadInput: unreadable, another ``schema_version``, or fields missing or of another type.
    """
    return read_record(path, EngineRecord, (SCHEMA_VERSION,), "engine record", "build the engine again", strict=True)


def check_plan_file(path: Path, backend: Backend, package_version: str, size_bytes: int) -> str:
    """The version in a plan's header (bytes 24 to 27), after comparing it, the magic and the size.

    Raises:
        CheckFailed: the file is not the plan that this builder was to write.
    """
    with path.open("rb") as file:
        header = file.read(28)
    version, size = ".".join(str(byte) for byte in header[24:28]), path.stat().st_size
    same_version = re.findall(r"\d+", package_version)[:3] == version.split(".")[:3]
    if not (len(header) == 28 and header[:4] == backend.magic.encode() and same_version and size == size_bytes):
        seen = f"magic {header[:4]!r}, version {version}, {size} bytes"
        want = f"{backend.magic}, {package_version}, {size_bytes} bytes"
        raise CheckFailed(f"the written file is no {backend.product} plan", f"{seen} in place of {want}", "build again")
    return version


def bytes_in_log(log: Iterable[str], label: str) -> int | None:
    """The last ``<label>: <n> bytes`` of a builder's log; None where it says nothing."""
    found = re.findall(rf"{re.escape(label)}: (\d+) bytes", "\n".join(log))
    return int(found[-1]) if found else None


def beside(engine_path: Path, suffix: str) -> Path:
    """The file that accompanies an engine: its whole name, and then ``suffix``."""
    return engine_path.with_name(engine_path.name + suffix)


def _check_paths(onnx_path: Path, engine_path: Path) -> None:
    if not (onnx_path.is_file() and onnx_path.stat().st_size > 0):
        seen = "empty" if onnx_path.is_file() else "no such file"
        raise BadInput(f"no ONNX model in {onnx_path}", seen, "export the model first")
    if engine_path.is_dir() or engine_path.resolve() == onnx_path.resolve():
        seen = "a folder" if engine_path.is_dir() else "the ONNX model itself"
        raise BadInput(f"cannot write the engine to {engine_path}", seen, "choose another path for the engine")


def _run_worker(job: dict[str, Any], progress: Progress, log: list[str]) -> dict[str, Any]:
    """What the worker answered, after it is gone, however this ends; the builder's log is added to ``log``."""
    result: dict[str, Any] | None = None
    failure: Failure | None = None
    with tempfile.TemporaryFile() as stderr:
        # The worker never reads its stdin; it only ends when that closes, which happens even if this process is killed.
        child = subprocess.Popen(
            [*WORKER, json.dumps(job)], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
        )
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            for line in child.stdout:
                match json.loads(line) if line.endswith(b"}\n") else None:
                    case {"log": str(text)}:
                        log.append(text)
                    case {"progress": str(text), "share": share}:
                        progress(text, share)
                    case {"failure": [what, seen, do], "exit_code": code}:
                        failure = FAILURES[code](what, seen, do)
                    case {"result": dict(answer)}:
                        result = answer
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
        do = "if it was SIGKILL, memory ran out: close other programs; otherwise the lines above say where it died"
        raise CheckFailed(f"the builder died on {job['onnx']}", "; ".join([cause, *log[-8:]]), do)
    return result
