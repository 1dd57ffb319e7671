"""What there is to compare on this machine, and why the rest is not compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from bench.exported import (
    CHANNELS_LAST,
    COMPILED,
    NO_BF16,
    ONNX_RUNTIME,
    OPENVINO,
    PYTORCH,
    TORCH_FORMS,
    ExportFolder,
    open_backend,
)
from bench.result import NotRunRow
from bench.worker import Job
from export.errors import BadInput
from export.manifest import Artifact

QUICK = (PYTORCH, ONNX_RUNTIME, OPENVINO)
PUBLISH = (PYTORCH, CHANNELS_LAST, COMPILED, ONNX_RUNTIME, OPENVINO)
MODULES = {ONNX_RUNTIME: "onnxruntime", OPENVINO: "openvino"} | dict.fromkeys(TORCH_FORMS, "torch")
GPU_RUNTIMES = ("onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx")
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Candidate:
    """One backend × precision."""

    runtime: str
    precision: str
    threads: int
    artifact: Artifact | None

    @property
    def id(self) -> str:
        """As results call it."""
        return f"{self.runtime}/{self.precision}/b1/t{self.threads}"

    def job(self, exported: ExportFolder, inputs: Path, *, nocopy: bool = False) -> Job:
        """What a worker is to run."""
        opened = partial(open_backend, exported, self.runtime, self.precision, self.threads)
        return Job(opened, inputs, (MODULES[self.runtime],), nocopy)


def reference(threads: int) -> Candidate:
    """The network as released, which all others are compared with."""
    return Candidate(PYTORCH, "fp32", threads, None)


def find_candidates(
    exported: ExportFolder, runtimes: Sequence[str], precisions: Sequence[str] | None, threads: int
) -> tuple[list[Candidate], list[NotRunRow]]:
    """Everything that these runtimes can run of this folder, the reference first; and what they cannot, with reasons.

    Raises:
        BadInput: an unknown runtime, or a precision that nothing here has.
    """
    unknown = sorted(set(runtimes) - set(PUBLISH))
    if unknown:
        raise BadInput("unknown runtime", ", ".join(unknown), f"choose of {', '.join(PUBLISH)}")
    there = exported.precisions
    wanted = tuple(precisions) if precisions is not None else there
    missing = [p for p in wanted if p not in there]
    if missing:
        do = f"export it: convnextpose export {exported.manifest.model} --precision {missing[0]}"
        raise BadInput(f"{exported.path} holds no {', '.join(missing)}", f"precisions there: {', '.join(there)}", do)
    found, not_run = [reference(threads)], []
    for runtime in runtimes:
        for precision in _precisions(runtime, wanted, there):
            reason = unavailable(runtime, precision)
            if reason is not None:
                not_run.append(NotRunRow(runtime=runtime, precision=precision, reason=reason))
                continue
            found.append(Candidate(runtime, precision, threads, _artifact(exported, runtime, precision)))
    left_out = [NotRunRow(runtime=r, precision=None, reason=_why_not(r)) for r in PUBLISH if r not in runtimes]
    gpu = [NotRunRow(runtime=r, precision=None, reason=no_gpu()) for r in GPU_RUNTIMES]
    unique = list({candidate.id: candidate for candidate in found}.values())
    return unique, not_run + [row for row in left_out if row.runtime != PYTORCH] + gpu


def unavailable(runtime: str, precision: str) -> str | None:
    """Why this machine cannot run it; None if it can."""
    if find_spec(MODULES[runtime]) is None:
        return f"{MODULES[runtime]} is not installed"
    if runtime == OPENVINO and precision == "bf16" and not cpu_has_bfloat16():
        return "the processor has no bfloat16"
    if runtime == ONNX_RUNTIME and precision == "bf16":
        return NO_BF16
    return None


def cpu_has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16."""
    try:
        words = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return "avx512_bf16" in words or "amx_bf16" in words or "bf16" in words


def no_gpu() -> str:
    """Why GPU runtimes are not measured."""
    return "no NVIDIA driver on this machine" if not DRIVER.exists() else "no backend for it in this version"


def _precisions(runtime: str, wanted: Sequence[str], there: Sequence[str]) -> list[str]:
    return ["fp32"] if runtime in TORCH_FORMS else [p for p in wanted if p in there]


def _artifact(exported: ExportFolder, runtime: str, precision: str) -> Artifact | None:
    if runtime in TORCH_FORMS:
        return None
    return exported.onnx(precision)


def _why_not(runtime: str) -> str:
    if runtime == COMPILED:
        return "compiling takes a minute; --publish or --runtime measures it"
    return "left out; --publish or --runtime measures it"
