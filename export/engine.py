"""Engines: one plan, built by TensorRT or by TensorRT-RTX in a child process, with a record beside it.

``<engine>`` is the serialised plan, ``<engine>.log`` the builder's log, ``<engine>.json`` the record. The record is
written last, so an engine without one is unfinished. No NVIDIA library is loaded into this process: a crash of the
builder, or Ctrl-C, ends the child and leaves nothing behind.
"""

import ctypes
import json
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from export.artifacts import sha256_file, whole_file, write_json, write_text
from export.engine_layers import EngineLayers
from export.errors import BadInput, CheckFailed, Failure, Inconclusive, NotPossible
from export.interface import PRECISIONS
from export.progress import Progress, silent
from export.steps import version
from export.timing_cache import timing_cache_path

RTX_TARGETS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""What TensorRT-RTX 1.7 can compile for; 8.7 (Orin), 9.0 (H100), 10.0 and 11.0 (Thor) it refuses."""

DEFAULT_RTX_TARGETS = ("8.0", "8.6", "8.9", "12.0")
"""NVIDIA's own default for builds without a GPU. Turing (7.5) works if asked, but it has no BF16 or FP8."""

TARGETS_WITHOUT = {"bf16": ("7.5",)}
"""Compute capabilities that lack a precision."""

SCHEMA_VERSION = 3
ROOT = Path(__file__).resolve().parents[1]
WORKER = (sys.executable, "-X", "faulthandler", "-m", "export.engine_worker")
DRIVER = "libcuda.so.1"
FAILURES = {kind.exit_code: kind for kind in (CheckFailed, BadInput, Inconclusive, NotPossible)}


@dataclass(frozen=True)
class EnginePlan:
    """What is asked of a builder; ``targets=None`` means the runtime's default.

    ``precision`` switches nothing on: it lives in the ONNX file's types, and the two must agree.

    Raises:
        BadInput: a value that no builder could honour.
    """

    precision: str = "fp32"
    batch_min: int = 1
    batch_opt: int = 1
    batch_max: int = 8
    workspace_bytes: int = 1 << 30
    optimization_level: int = 3
    tf32: bool = False
    targets: tuple[str, ...] | None = None
    hardware_compatible: bool = False
    """Runs on every Ampere and newer GPU, more slowly; TensorRT only, and not on Jetsons."""
    version_compatible: bool = False
    """Runs on later versions of TensorRT, more slowly; TensorRT only."""

    def __post_init__(self) -> None:
        def need(good: bool, what: str, seen: object, do: str) -> None:
            if not good:
                raise BadInput(what, str(seen), do)

        batches = (self.batch_min, self.batch_opt, self.batch_max)
        rule = "give 1 <= min <= opt <= max"
        need(1 <= batches[0] <= batches[1] <= batches[2], "impossible batch sizes (min, opt, max)", batches, rule)
        need(self.precision in PRECISIONS, "unknown precision", self.precision, f"choose of {', '.join(PRECISIONS)}")
        need(self.workspace_bytes >= 1, "impossible workspace in bytes", self.workspace_bytes, "give at least 1")
        need(self.optimization_level in range(6), "impossible optimisation level", self.optimization_level, "0 to 5")
        if self.targets is not None:
            bad = [target for target in self.targets if target not in RTX_TARGETS]
            what = "TensorRT-RTX builds no engine for this compute capability"
            need(not bad, what, ", ".join(bad), f"choose of {', '.join(RTX_TARGETS)}")
            lacking = [target for target in self.targets if target in TARGETS_WITHOUT.get(self.precision, ())]
            what = f"this compute capability has no {self.precision}"
            need(not lacking, what, ", ".join(lacking), "leave it out, or ask for fp16")
            once = 0 < len(self.targets) == len(set(self.targets))
            need(once, "targets must be named, each once", self.targets, "leave targets out for the default")


@dataclass(frozen=True)
class Backend:
    """All that differs between the two products."""

    module: str
    product: str
    magic: str
    """The first four bytes of a plan."""
    suffix: str
    """How engine files of this runtime end, for whoever names them."""
    takes_targets: bool
    """Compiles ahead for any GPU named, without one; otherwise it tunes on this machine's GPU."""


TENSORRT = Backend("tensorrt", "TensorRT", magic="ftrt", suffix=".trt.engine", takes_targets=False)
TENSORRT_RTX = Backend("tensorrt_rtx", "TensorRT-RTX", magic="vtrt", suffix=".rtx.engine", takes_targets=True)
BACKENDS = {backend.module: backend for backend in (TENSORRT, TENSORRT_RTX)}


@dataclass(frozen=True)
class Choice:
    """The runtime that this machine can build with, or None; ``reason`` says why. ``gpu``: the one it tunes on."""

    backend: Backend | None
    gpu: str | None
    reason: str


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
    runtime: str
    package_version: str
    built_on: str
    gpu: str | None
    """The GPU that the builder tuned on; None: compiled ahead of time, for ``targets``."""
    targets: tuple[str, ...]
    precision: str
    layer_types: dict[str, dict[str, int]]
    """Kind of layer → type of what it gives → how many, in the strongly typed network that the builder was given."""
    inspected: EngineLayers | None
    """What the built engine's inspector says of its layers; None: built without a GPU, so it could not be loaded."""
    tf32: bool
    """Read back from the builder. On, multiplications of FP32 tensors keep 10 bits of mantissa."""
    profile: Profile
    workspace_bytes: int
    optimization_level: int
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


def choose_runtime() -> Choice:
    """TensorRT where it is installed and a GPU answers, else TensorRT-RTX where it is installed, else none."""
    reason = "tensorrt is not installed"
    if find_spec(TENSORRT.module) is not None:
        gpu, trouble = probe_gpu()
        if gpu is not None:
            return Choice(TENSORRT, gpu, f"tensorrt is installed and {gpu} answers")
        reason = f"tensorrt is installed, but {trouble}"
    if find_spec(TENSORRT_RTX.module) is not None:
        return Choice(TENSORRT_RTX, None, f"{reason}; tensorrt_rtx is installed")
    return Choice(None, None, f"{reason}; tensorrt_rtx is not installed")


def probe_gpu() -> tuple[str | None, str]:
    """Name of the first GPU, or None and why there is none; asks the driver only.

    TensorRT itself must not be asked: its runtime crashes where no driver answers.
    """
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return None, f"there is no NVIDIA driver ({DRIVER})"
    count, device, name = ctypes.c_int(0), ctypes.c_int(0), ctypes.create_string_buffer(256)
    if (status := driver.cuInit(0)) != 0:
        return None, f"the NVIDIA driver refuses (cuInit: error {status})"
    if driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or not count.value > 0:
        return None, "the NVIDIA driver sees no GPU"
    if driver.cuDeviceGet(ctypes.byref(device), 0) != 0 or driver.cuDeviceGetName(name, 256, device) != 0:
        return None, "the NVIDIA driver does not name its GPU"
    return name.value.decode(errors="replace"), ""


def honoured(plan: EnginePlan, choice: Choice) -> EnginePlan:
    """The plan with the runtime's default targets, if the runtime can honour it, and would not go on without a word.

    Raises:
        BadInput: targets for TensorRT, or compatible engines of TensorRT-RTX.
    """
    backend = choice.backend
    if backend is None:
        return plan
    if not backend.takes_targets:
        if plan.targets is not None:
            do = "leave targets out, or build where only tensorrt_rtx is installed"
            raise BadInput(f"{backend.product} builds for this machine's GPU only", f"targets {plan.targets}", do)
        return plan
    asked = [kind for kind in ("hardware", "version") if getattr(plan, f"{kind}_compatible")]
    if asked:  # it warns and ignores the one, and fails late at the other
        do = "name its GPUs with --targets; build with TensorRT on a GPU, or again for each version"
        raise BadInput(f"{backend.product} builds no {' and '.join(asked)} compatible engine", choice.reason, do)
    return replace(plan, targets=plan.targets or DEFAULT_RTX_TARGETS)


def build_engine(
    onnx_path: Path,
    engine_path: Path,
    plan: EnginePlan,
    progress: Progress = silent,
    *,
    timing_folder: Path | None = None,
) -> EngineRecord:
    """Build ``engine_path`` from ``onnx_path``, and write its log and its record beside it.

    Until the new engine is whole, one that was there before stays, with its record. What the builder learns of a GPU
    is kept in ``timing_folder`` for later builds; left out, in the engine's own folder.

    Raises:
        BadInput: the ONNX file does not fit (unreadable, other names, types or shapes), the plan cannot be honoured
            (targets for TensorRT, too little workspace), or the folder cannot be written.
        CheckFailed: the builder refused, logged an error, died, or wrote what it should not have.
        NotPossible: neither TensorRT nor TensorRT-RTX can build here.
    """
    choice = choose_runtime()
    if (backend := choice.backend) is None:
        do = "install tensorrt-rtx (x86-64, needs no GPU), or tensorrt where there is an NVIDIA GPU"
        raise NotPossible("no engine can be built here", choice.reason, do)
    plan = honoured(plan, choice)
    _check_paths(onnx_path, engine_path)
    record_path, log_path = beside(engine_path, ".json"), beside(engine_path, ".log")
    with whole_file(engine_path) as partial:
        job = {"backend": backend.module, "onnx": str(onnx_path.resolve()), "engine": str(partial.resolve())}
        if choice.gpu is not None:  # what is built ahead of time times nothing
            folder = (timing_folder or engine_path.parent).resolve()
            job["timing_cache"] = str(timing_cache_path(folder, choice.gpu, version(backend.module)))
        result, log = _run_worker({**job, "plan": asdict(plan)}, progress)
        plan_version = check_plan_file(partial, backend, result["package_version"], result["size_bytes"])
        targets = plan.targets or ()
        record = EngineRecord(
            schema_version=SCHEMA_VERSION,
            status=f"built for {'SM ' + ', '.join(targets) if targets else choice.gpu}; not run",
            runtime=backend.module,
            package_version=result["package_version"],
            built_on=f"{platform.system()} {platform.machine()}",
            gpu=choice.gpu,
            targets=targets,
            precision=result["precision"],
            layer_types=result["layer_types"],
            inspected=result["inspected"] and EngineLayers(**result["inspected"]),
            tf32=result["tf32"],
            profile=Profile(result["input"], *(tuple(shape) for shape in result["shapes"])),
            workspace_bytes=plan.workspace_bytes,
            optimization_level=plan.optimization_level,
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
        record_path.unlink(missing_ok=True)  # never an old record beside a new engine
    write_text(log_path, "\n".join(log) + "\n")
    write_json(record_path, asdict(record))
    progress(record.status, 1.0)
    return record


def read_record(path: Path) -> EngineRecord:
    """The record of ``<engine>.json``.

    Raises:
        BadInput: unreadable, another ``schema_version``, or fields missing or of another type.
    """
    from pydantic import TypeAdapter

    try:
        text = path.read_bytes()
        if (version := json.loads(text)["schema_version"]) != SCHEMA_VERSION:
            raise ValueError(f"schema_version {version}, not {SCHEMA_VERSION}")
        return TypeAdapter(EngineRecord).validate_json(text, strict=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is not a record of an engine", str(error), "build the engine again") from error


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


def _run_worker(job: dict[str, Any], progress: Progress) -> tuple[dict[str, Any], list[str]]:
    """What the worker answered and the builder's log, after the worker is gone, however this ends."""
    result: dict[str, Any] | None = None
    failure: Failure | None = None
    log: list[str] = []
    with tempfile.TemporaryFile() as stderr:
        # The worker never reads its stdin; it only ends when that closes, which happens even if this process is killed.
        child = subprocess.Popen(
            [*WORKER, json.dumps(job)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
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
    return result, log
