"""The main job: from a model's name, and a checkpoint if there is one, to a folder of proven artifacts.

    weights ──► ranges ──► plan ──► onnx ──► parity ──► engine
       ├──► calibration ────┘                   │
       └──► truth ──────────────────────────────┘

``calibration``, ``ranges`` and ``plan`` are for half precisions and INT8: the images, the largest values, and the
precision of each convolution with its rounded weights.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from export.checkpoint.records import CheckpointRecord
from export.common.errors import BadInput, CheckFailed, Failure
from export.common.interface import HALVES, precision_of
from export.common.progress import StepObserver
from export.graph.ranges import require_range
from export.pipeline.engine_step import engine_step
from export.pipeline.layout import WEIGHTS
from export.pipeline.manifest import Manifest, write_manifest
from export.pipeline.onnx_steps import onnx_step, parity_step
from export.pipeline.precision_steps import calibration_step, plan_step, ranges_step
from export.pipeline.recipe import write_recipe
from export.pipeline.reference_steps import truth_step, weights_step
from export.pipeline.request import ExportRequest
from export.pipeline.results import ExportResults
from export.pipeline.steps import Folder
from export.pipeline.summary import manifest_of


@dataclass(frozen=True)
class Export:
    """The export of one model."""

    folder: Path
    """``OUT/MODEL``."""
    results: ExportResults
    manifest: Manifest | None
    """None in a dry run."""
    recipe: Path | None = None
    """The page with commands that build engines on the device; None if no file is proven."""

    def require_success(self) -> None:
        """Raise the first failure of a precision; see ``ExportResults.require_success``."""
        self.results.require_success()


def run_export(
    request: ExportRequest, path: Path, observer: StepObserver | None = None, *, dry_run: bool = False
) -> Export:
    """Run every step that is not up to date, and write manifest and recipe.

    A precision that fails a check ends there, and the others go on; ``Export.require_success`` raises its failure.

    Args:
        request: what to export.
        path: the folder for this model's artifacts, such as ``build/XS``.
        observer: receives each step's start, end and progress.
        dry_run: tell the observer which steps would run, and write nothing.

    Raises:
        BadInput: the checkpoint, a plan or a folder of images cannot be used, or the folder cannot be written.
        CheckFailed: ``request.strict``, and the checkpoint is not the declared model.
    """
    folder = Folder(path, observer or StepObserver(), dry_run=dry_run)
    with folder.locked():
        results = _run_steps(folder, request)
        if dry_run:
            return Export(path, results, None)
        manifest = manifest_of(folder, request, results)
        recipe = write_recipe(path, manifest, request.plan)
        write_manifest(path, manifest)
    return Export(path, results, manifest, recipe)


def _run_steps(folder: Folder, request: ExportRequest) -> ExportResults:
    """Run every step that is not up to date, while the folder is locked."""
    weights, calibration = weights_step(folder, request), None
    refused: dict[str, Failure] = {}
    if request.plans and weights.value:  # before any slow step
        _require_plans(request.plans.values(), weights.value, weights.outputs[WEIGHTS])
    if set(request.precisions) != {"fp32"}:
        try:
            calibration = calibration_step(folder, request, weights)
        except BadInput as failure:
            if request.calibration is not None:
                raise
            refused = {variant: failure for variant in request.variants if precision_of(variant) != "fp32"}
    results = ExportResults(weights, truth_step(folder, request, weights), calibration, refused=refused)
    for variant in request.variants:
        try:
            if variant not in results.refused:
                _export_variant(folder, request, results, variant)
        except CheckFailed as failure:
            results.refused[variant] = failure
    return results


def _require_plans(paths: Iterable[Path], weights: CheckpointRecord, sha256: str) -> None:
    """Check the user's precision plans.

    Raises:
        BadInput: one cannot be used for these weights.
    """
    from export.plan.precision_plan import accept_plan, read_plan

    architecture = weights.architecture.as_architecture()
    for path in paths:
        accept_plan(read_plan(path, architecture), sha256)


def _export_variant(folder: Folder, request: ExportRequest, results: ExportResults, variant: str) -> None:
    """Add the artifacts of one variant to ``results``; a file that fails its parity gets no engine."""
    precision = precision_of(variant)
    if precision != "fp32":
        half = precision if precision in HALVES else "fp16"  # INT8 graphs have FP16 around the convolutions
        if half not in results.ranges:
            results.ranges[half] = ranges_step(folder, request, results.weights, half)
        if ranges := results.ranges[half].value:
            require_range(ranges.model_dump(), precision, half)
        if precision not in results.plans:
            results.plans[precision] = plan_step(folder, request, results, precision)
        if plan := results.plans[precision].value:
            plan.require_not_empty()
    results.onnx[variant] = onnx_step(folder, request, results, variant)
    results.parity[variant] = parity_step(folder, request, results, variant)
    if results.passed(variant):
        results.engine[variant] = engine_step(folder, request, results, variant)
