"""The step that builds an engine, where this machine can."""

from dataclasses import asdict
from pathlib import Path

from export.common.errors import Failure, NotPossible
from export.common.interface import precision_of
from export.common.progress import Progress
from export.engine.choice import TO_INSTALL, choose_runtime
from export.engine.plan import EnginePlan
from export.engine.record import EngineRecord
from export.pipeline.layout import engine_path
from export.pipeline.request import ExportRequest
from export.pipeline.results import ExportResults, NotBuilt
from export.pipeline.steps import Folder, Step, StepResult
from export.runtime.engine_file import PRODUCTS


def engine_step(
    folder: Folder, request: ExportRequest, results: ExportResults, variant: str
) -> StepResult[EngineRecord] | NotBuilt:
    """Build an engine of this variant with the runtime that is present."""
    path, plan, quantized = request.onnx_path(variant), results.plan(variant), None
    if precision_of(variant) == "int8" and plan and plan.value:
        quantized = len(plan.value.quantized)
    sha256 = results.onnx[variant].outputs[path]
    return built_engine(folder, path, sha256, request.engine_plan(variant), variant, quantized)


def built_engine(
    folder: Folder, source: str, sha256: str, plan: EnginePlan, variant: str, quantized: int | None = None
) -> StepResult[EngineRecord] | NotBuilt:
    """Build an engine from the ONNX file ``source`` in ``folder``, or return why there is none.

    A failure is not recorded as a result: the next run tries again.

    Args:
        folder: the export.
        source: path of the ONNX file within it.
        sha256: the file's hash.
        plan: options of the build.
        variant: of the file.
        quantized: the number of convolutions that must be in INT8; None: it is not checked.
    """
    choice = choose_runtime(plan.runtime)
    product = choice.product
    if product is None:
        return NotBuilt("not run", f"{choice.reason}; {TO_INSTALL}")
    names = {known.module: engine_path(source, known) for known in PRODUCTS.values()}

    def work(target: Path, progress: Progress) -> EngineRecord:
        from export.engine.build import build_engine
        from export.engine.record import require_planned

        name = names[product.module]
        permanent = (folder.path / name).parent  # the target folder is temporary
        record = build_engine(folder.path / source, target / name, plan, progress, kept_in=permanent)
        if quantized is not None:
            require_planned(record, quantized)
        return record

    gpu = choice.tunes_on.kind if choice.tunes_on else None
    options = {"plan": asdict(plan), "gpu": gpu, "runtime": product.module, "version": choice.version}
    outputs = tuple(name + suffix for name in names.values() for suffix in ("", ".log", ".json"))
    try:
        return folder.perform(Step(f"engine-{variant}", outputs, {source: sha256}, options), work, EngineRecord)
    except NotPossible as failure:
        return NotBuilt("not run", str(failure))
    except Failure as failure:
        return NotBuilt("failed", str(failure), failure)
