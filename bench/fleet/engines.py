"""Engines of an export, built on the device that will run them."""

from bench.fleet.spec import JobSpec
from bench.sessions.exported import ENGINES, ExportFolder
from export.common.errors import BadInput
from export.common.gpu import default_gpu
from export.engine.choice import choose_runtime
from export.engine.plan import RTX_TARGETS, EnginePlan
from export.pipeline.manifest import Artifact
from export.pipeline.model_steps import built_engine
from export.pipeline.options import parse_plan
from export.pipeline.steps import Folder, NotBuilt
from export.pipeline.summary import engine_artifact
from export.runtime.engine_file import TENSORRT_RTX


def with_engines(folder: Folder, exported: ExportFolder, spec: JobSpec) -> tuple[ExportFolder, list[str]]:
    """Build the engines that ``spec`` names and this device can build; those that are up to date are not repeated.

    Returns:
        The export with these engines, and a line for each engine, or for the reason why there is none.
    """
    wanted = [name for name in ENGINES if spec.runtimes is None or name in spec.runtimes]
    if not wanted:
        return exported, []
    choice = choose_runtime()
    gpu, trouble = default_gpu()
    if gpu is None or choice.product is None:
        return exported, [f"none built: {trouble or choice.reason}"]
    if choice.product.option not in wanted:
        return exported, [f"none built: this device builds for {choice.product.option}, which is not asked for"]
    if choice.product == TENSORRT_RTX and gpu.compute_capability not in RTX_TARGETS:
        return exported, [f"none built: TensorRT-RTX knows no compute capability {gpu.compute_capability}"]
    targets = gpu.compute_capability if choice.product == TENSORRT_RTX else None
    added, lines = list[Artifact](), list[str]()
    for source in exported.manifest.artifacts:
        if source.precision not in spec.precisions:
            continue
        try:
            plan = _plan(spec, source.precision, targets)
            made = built_engine(folder, source.path, source.sha256, plan, source.precision)
        except BadInput as failure:
            lines.append(f"{source.precision}: not built: {failure}")
            continue
        if isinstance(made, NotBuilt):
            lines.append(f"{source.precision}: {made.status}: {made.reason}")
        else:
            added.append(engine_artifact(source, made))
            lines.append(f"{source.precision}: {made.result['status']}, {made.result['build_seconds']:.1f} s")
    artifacts = [*exported.manifest.artifacts, *added]
    return ExportFolder(exported.path, exported.manifest.model_copy(update={"artifacts": artifacts})), lines


def _plan(spec: JobSpec, precision: str, targets: str | None) -> EnginePlan:
    asked = spec.engine
    wanted = EnginePlan(
        precision=precision,
        hardware_compatible=asked.hardware_compatible,
        version_compatible=asked.version_compatible,
    )
    return parse_plan(wanted, ",".join(map(str, asked.batches)), targets, asked.workspace_mib)
