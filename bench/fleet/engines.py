"""Engines of an export, built on the device that will run them."""

from bench.fleet.spec import JobSpec
from bench.sessions.exported import ENGINES, ExportFolder
from export.common.errors import BadInput
from export.engine.choice import choose_runtime
from export.engine.plan import RTX_TARGETS, EnginePlan
from export.pipeline.engine_step import built_engine
from export.pipeline.results import NotBuilt
from export.pipeline.steps import Folder
from export.pipeline.summary import engine_artifact
from export.runtime.engine_file import TENSORRT_RTX
from export.runtime.gpu import default_gpu


def with_engines(folder: Folder, exported: ExportFolder, spec: JobSpec) -> tuple[ExportFolder, list[str]]:
    """Build the engines that ``spec`` requests and this device can build; those that are up to date are kept.

    Returns:
        The export with these engines; and a line for each engine, or the reason why there is none.
    """
    requested = [name for name in ENGINES if spec.runtimes is None or name in spec.runtimes]
    if not requested:
        return exported, []
    choice = choose_runtime()
    gpu, no_gpu = default_gpu()
    if gpu is None or choice.product is None:
        return exported, [f"none built: {no_gpu or choice.reason}"]
    if choice.product.option not in requested:
        return exported, [f"none built: this device builds for {choice.product.option}, which was not requested"]
    ahead_of_time = choice.product == TENSORRT_RTX
    if ahead_of_time and gpu.compute_capability not in RTX_TARGETS:
        return exported, [f"none built: TensorRT-RTX does not support compute capability {gpu.compute_capability}"]
    artifacts, lines = list(exported.manifest.artifacts), list[str]()
    for source in exported.manifest.artifacts:
        if source.precision not in spec.precisions:
            continue
        try:
            plan = _plan(spec, source.precision, gpu.compute_capability if ahead_of_time else None)
            engine = built_engine(folder, source.path, source.sha256, plan, source.precision)
        except BadInput as failure:
            lines.append(f"{source.precision}: not built: {failure}")
            continue
        if isinstance(engine, NotBuilt):
            lines.append(f"{source.precision}: {engine.status}: {engine.reason}")
        else:
            artifacts.append(engine_artifact(source, engine))
            lines.append(f"{source.precision}: {engine.get().status}, {engine.get().build_seconds:.1f} s")
    return ExportFolder(exported.path, exported.manifest.model_copy(update={"artifacts": artifacts})), lines


def _plan(spec: JobSpec, precision: str, targets: str | None) -> EnginePlan:
    options = spec.engine
    low, best, high = options.batches
    return EnginePlan(
        precision=precision,
        batch_min=low,
        batch_opt=best,
        batch_max=high,
        targets=(targets,) if targets else None,
        workspace_bytes=options.workspace_mib << 20,
        hardware_compatible=options.hardware_compatible,
        version_compatible=options.version_compatible,
    )
