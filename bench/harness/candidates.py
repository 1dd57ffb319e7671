"""What there is to compare on this machine, and why the rest is not compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from bench.harness.job import Job
from bench.machine.system import cpu_has_bfloat16
from bench.results.result import NotRunRow
from bench.sessions.exported import (
    CHANNELS_LAST,
    COMPILED,
    ENGINES,
    GPU_RUNTIMES,
    ONNX_RUNTIME,
    OPENVINO,
    ORT_CUDA,
    ORT_TENSORRT,
    PYTORCH,
    PYTORCH_CUDA,
    TORCH_FORMS,
    ExportFolder,
    load_session,
)
from bench.sessions.gpu_runtimes import is_gpu, no_engine, no_gpu_runtime
from export.common.errors import BadInput, NotPossible
from export.pipeline.manifest import Artifact
from export.runtime.onnx_runtime import NO_BF16

QUICK = (PYTORCH, ONNX_RUNTIME, OPENVINO, *GPU_RUNTIMES)
PUBLISH = (PYTORCH, CHANNELS_LAST, COMPILED, ONNX_RUNTIME, OPENVINO, *GPU_RUNTIMES)
REFERENCES = (PYTORCH, PYTORCH_CUDA)
MODULES = (
    {ONNX_RUNTIME: ("onnxruntime",), OPENVINO: ("openvino",)}
    | dict.fromkeys(TORCH_FORMS, ("torch",))
    | dict.fromkeys((ORT_CUDA, ORT_TENSORRT), ("torch", "onnxruntime"))
    | {runtime: (backend.module,) for runtime, backend in ENGINES.items()}
)
"""Modules that a worker imports before it loads. Torch comes first: it brings ONNX Runtime's CUDA libraries."""

ASKED_FOR = "--publish or --runtime measures it"
COMPILE_AT_START = (COMPILED, ORT_TENSORRT, "tensorrt-rtx")
"""Loading, or the first run, takes minutes."""


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

    @property
    def device(self) -> str:
        """CPU or GPU, as the gate's tolerances know it."""
        return "GPU" if is_gpu(self.runtime) else "CPU"

    def job(self, exported: ExportFolder, inputs: Path, *, nocopy: bool = False, graph: bool = True) -> Job:
        """What a worker is to run. On a GPU ``host_nocopy`` costs nothing to bind and is always measured."""
        opened = partial(load_session, exported, self.runtime, self.precision, self.threads, graph=graph)
        return Job(opened, inputs, MODULES[self.runtime], nocopy or is_gpu(self.runtime), is_gpu(self.runtime))


def reference(threads: int, runtime: str = PYTORCH) -> Candidate:
    """The network as released, which all others are compared with."""
    return Candidate(runtime, "fp32", threads, None)


def find_candidates(
    exported: ExportFolder,
    runtimes: Sequence[str],
    precisions: Sequence[str] | None,
    threads: int,
    compared_with: str | None = None,
) -> tuple[list[Candidate], list[NotRunRow]]:
    """Everything that these runtimes can run of this folder, the reference first; and what they cannot, with reasons.

    The reference is PyTorch on the CPU, or, as soon as something on the GPU is measured, PyTorch on that GPU: what a
    GPU alone is worth over a CPU says nothing of an engine. ``compared_with`` names another.

    Raises:
        BadInput: an unknown runtime, or a precision that nothing here has.
        NotPossible: the reference that was named cannot be run here.
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
    found, not_run = [], []
    for runtime in runtimes:
        if is_gpu(runtime) and (reason := no_gpu_runtime(runtime)):
            not_run.append(NotRunRow(runtime=runtime, precision=None, reason=reason))
            continue
        for precision in _precisions(runtime, wanted, there):
            if reason := unavailable(exported, runtime, precision):
                not_run.append(NotRunRow(runtime=runtime, precision=precision, reason=reason))
            else:
                found.append(Candidate(runtime, precision, threads, _artifact(exported, runtime, precision)))
    first = reference(threads, choose_reference(found, compared_with))
    left_out = [r for r in PUBLISH if r not in (*runtimes, first.runtime, PYTORCH)]
    not_run += [NotRunRow(runtime=r, precision=None, reason=_why_not(r)) for r in left_out]
    return list({candidate.id: candidate for candidate in [first, *found]}.values()), not_run


def choose_reference(found: Sequence[Candidate], named: str | None) -> str:
    """The runtime that all others are compared with.

    Raises:
        BadInput: the one that is named is none.
        NotPossible: it cannot be run here.
    """
    if named is None:
        on_gpu = any(is_gpu(candidate.runtime) for candidate in found) and not no_gpu_runtime(PYTORCH_CUDA)
        return PYTORCH_CUDA if on_gpu else PYTORCH
    if named not in REFERENCES:
        raise BadInput("unknown reference", named, f"choose of {', '.join(REFERENCES)}")
    if is_gpu(named) and (reason := no_gpu_runtime(named)):
        raise NotPossible(f"{named} cannot be the reference here", reason, f"choose --reference {PYTORCH}")
    return named


def require_some(found: Sequence[Candidate], not_run: Sequence[NotRunRow], runtimes: Sequence[str]) -> None:
    """See that of the runtimes that a user has named at least one can be measured.

    Raises:
        NotPossible: none can.
    """
    if any(candidate.runtime in runtimes for candidate in found):
        return
    reasons = {f"{row.runtime} {row.precision or ''}".strip(): row.reason for row in not_run if row.runtime in runtimes}
    seen = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise NotPossible("nothing that was asked for can be measured here", seen, "see `convnextpose doctor`")


def unavailable(exported: ExportFolder, runtime: str, precision: str) -> str | None:
    """Why this machine cannot run it; None if it can. That GPU runtimes can be run at all is known before."""
    for module in MODULES[runtime]:
        if find_spec(module) is None:
            return f"{module} is not installed"
    if runtime == OPENVINO and precision == "bf16" and not cpu_has_bfloat16():
        return "the processor has no bfloat16"
    if runtime == ONNX_RUNTIME and precision == "bf16":
        return NO_BF16
    return no_engine(exported, runtime, precision) if runtime in ENGINES else None


def _precisions(runtime: str, wanted: Sequence[str], there: Sequence[str]) -> list[str]:
    return ["fp32"] if runtime in TORCH_FORMS else [p for p in wanted if p in there]


def _artifact(exported: ExportFolder, runtime: str, precision: str) -> Artifact | None:
    """What is run. An engine that the recipe built is not in the manifest; the row's facts tell of it."""
    if runtime in TORCH_FORMS:
        return None
    return exported.listed_engine(precision, ENGINES[runtime]) if runtime in ENGINES else exported.onnx(precision)


def _why_not(runtime: str) -> str:
    if is_gpu(runtime) and (reason := no_gpu_runtime(runtime)):
        return reason
    if runtime == COMPILED:
        return f"compiling takes a minute; {ASKED_FOR}"
    return f"left out; {ASKED_FOR}"
