"""Candidates that this machine can measure, and the reasons why it skips the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from bench.harness.workload import Workload
from bench.machine.system import cpu_has_bfloat16
from bench.passes.image_to_joints import Predictor
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
from export.common.extras import EXTRAS, missing
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
"""Modules that a worker imports before loading. Torch comes first: it brings ONNX Runtime's CUDA libraries."""

HOW_TO_MEASURE = "--publish or --runtime measures it"
COMPILE_AT_START = (COMPILED, ORT_TENSORRT, "tensorrt-rtx")
"""Runtimes in which loading, or the first run, takes minutes."""


@dataclass(frozen=True)
class Candidate:
    """One runtime × precision to measure."""

    runtime: str
    precision: str
    threads: int
    artifact: Artifact | None = None

    @property
    def id(self) -> str:
        """Name in results."""
        return f"{self.runtime}/{self.precision}/b1/t{self.threads}"

    @property
    def device(self) -> str:
        """CPU or GPU, the keys of the gate's tolerances."""
        return "GPU" if is_gpu(self.runtime) else "CPU"

    def workload(
        self, exported: ExportFolder, name: str | None = None, *, nocopy: bool = False, graph: bool = True
    ) -> Workload:
        """Return the workload of this candidate, named as in results unless ``name`` is given.

        On a GPU memory is bound at no cost, so that ``host_nocopy`` is always measured.
        """
        gpu = is_gpu(self.runtime)
        return Workload(
            name or self.id,
            partial(load_session, exported, self.runtime, self.precision, self.threads, graph=graph),
            self.precision,
            modules=MODULES[self.runtime],
            nocopy=nocopy or gpu,
            gpu=gpu,
            compiles=self.runtime in COMPILE_AT_START,
            predict=Predictor(exported),
        )


def find_candidates(
    exported: ExportFolder,
    runtimes: Sequence[str],
    precisions: Sequence[str] | None,
    threads: int,
    reference: str | None = None,
) -> tuple[list[Candidate], list[NotRunRow]]:
    """Find all that these runtimes can run of this folder.

    The reference is PyTorch on the CPU, or PyTorch on the GPU if something on the GPU is measured: the advantage of a
    GPU over a CPU says nothing about an engine. ``reference`` names another.

    Returns:
        The candidates, the reference first; and the skipped rows with their reasons.

    Raises:
        BadInput: an unknown runtime, or a precision that the folder lacks.
        NotPossible: the named reference cannot run here.
    """
    unknown = sorted(set(runtimes) - set(PUBLISH))
    if unknown:
        raise BadInput("unknown runtime", ", ".join(unknown), f"choose from {', '.join(PUBLISH)}")
    available = exported.precisions
    selected = tuple(precisions) if precisions is not None else available
    missing = [precision for precision in selected if precision not in available]
    if missing:
        do = f"export it: convnextpose export {exported.manifest.model} --precision {missing[0]}"
        raise BadInput(f"{exported.path} has no {', '.join(missing)}", f"it has {', '.join(available)}", do)
    candidates, skipped = [], []
    for runtime in runtimes:
        if is_gpu(runtime) and (reason := no_gpu_runtime(runtime)):
            skipped.append(NotRunRow(runtime=runtime, precision=None, reason=reason))
            continue
        for precision in ("fp32",) if runtime in TORCH_FORMS else selected:
            if reason := unavailable(exported, runtime, precision):
                skipped.append(NotRunRow(runtime=runtime, precision=precision, reason=reason))
            else:
                candidates.append(Candidate(runtime, precision, threads, _artifact(exported, runtime, precision)))
    first = Candidate(choose_reference(candidates, reference), "fp32", threads)
    not_requested = [runtime for runtime in PUBLISH if runtime not in (*runtimes, first.runtime, PYTORCH)]
    skipped += [NotRunRow(runtime=r, precision=None, reason=_reason_if_not_requested(r)) for r in not_requested]
    return list({candidate.id: candidate for candidate in [first, *candidates]}.values()), skipped


def choose_reference(candidates: Sequence[Candidate], name: str | None) -> str:
    """Return the runtime that all others are compared with.

    Raises:
        BadInput: ``name`` is no reference.
        NotPossible: it cannot run here.
    """
    if name is None:
        on_gpu = any(is_gpu(candidate.runtime) for candidate in candidates) and not no_gpu_runtime(PYTORCH_CUDA)
        return PYTORCH_CUDA if on_gpu else PYTORCH
    if name not in REFERENCES:
        raise BadInput("unknown reference", name, f"choose from {', '.join(REFERENCES)}")
    if is_gpu(name) and (reason := no_gpu_runtime(name)):
        raise NotPossible(f"{name} cannot be the reference here", reason, f"choose --reference {PYTORCH}")
    return name


def require_some(candidates: Sequence[Candidate], skipped: Sequence[NotRunRow], runtimes: Sequence[str]) -> None:
    """Check that at least one of the runtimes that a user named can be measured.

    Raises:
        NotPossible: none can.
    """
    if any(candidate.runtime in runtimes for candidate in candidates):
        return
    listed = "; ".join(f"{row.name}: {row.reason}" for row in skipped if row.runtime in runtimes)
    raise NotPossible("this machine can measure none of the named runtimes", listed, "see `convnextpose doctor`")


def unavailable(exported: ExportFolder, runtime: str, precision: str) -> str | None:
    """Return why this machine cannot run it; None if it can. GPU runtimes as such are checked before."""
    for module in MODULES[runtime]:
        if find_spec(module) is None:
            return missing(module) if module in EXTRAS else f"{module} is not installed"
    if runtime == OPENVINO and precision == "bf16" and not cpu_has_bfloat16():
        return "the processor has no bfloat16"
    if runtime == ONNX_RUNTIME and precision == "bf16":
        return NO_BF16
    return no_engine(exported, runtime, precision) if runtime in ENGINES else None


def _artifact(exported: ExportFolder, runtime: str, precision: str) -> Artifact | None:
    """Return the file that runs. An engine that the recipe built is not in the manifest, but in the row's facts."""
    if runtime in TORCH_FORMS:
        return None
    return exported.listed_engine(precision, ENGINES[runtime]) if runtime in ENGINES else exported.onnx(precision)


def _reason_if_not_requested(runtime: str) -> str:
    if is_gpu(runtime) and (reason := no_gpu_runtime(runtime)):
        return reason
    if runtime == COMPILED:
        return f"compiling takes a minute; {HOW_TO_MEASURE}"
    return f"left out; {HOW_TO_MEASURE}"
