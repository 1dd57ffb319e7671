"""The main job: from a model's name, and a checkpoint if there is one, to a folder of proven artifacts.

    weights ──► ranges ──► plan ──► onnx ──► parity ──► engine
       ├──► calibration ────┘                   │
       └──► truth ──────────────────────────────┘

``calibration``, ``ranges`` and ``plan`` are for half precisions and INT8: images, the largest values, and which
convolutions compute in which precision, with their rounded weights. ``model_steps`` has the steps themselves.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.common.errors import BadInput, CheckFailed
from export.common.interface import HALVES, precision_of
from export.common.progress import StepObserver
from export.graph.ranges import require_range
from export.pipeline.manifest import Manifest, write_manifest
from export.pipeline.model_steps import (
    WEIGHTS,
    calibration_step,
    engine_step,
    onnx_step,
    parity_step,
    plan_step,
    ranges_step,
    truth_step,
    weights_step,
)
from export.pipeline.recipe import recipe_of, write_recipe
from export.pipeline.request import ExportRequest
from export.pipeline.step_results import StepResults
from export.pipeline.steps import Folder, Made
from export.pipeline.summary import manifest_of
from export.plan.plan_record import require_left


@dataclass(frozen=True)
class Export:
    """One model's artifacts, and what was found about them."""

    folder: Path
    """``OUT/MODEL``."""
    steps: StepResults
    manifest: Manifest | None
    """None if the run was only to say what it would do."""
    recipe: Path | None = None
    """The page with commands that build engines on the device; None if no file is proven."""

    def require_success(self) -> None:
        """End with the first failure of a precision; see ``StepResults.require_success``."""
        self.steps.require_success()


def run_export(
    request: ExportRequest, path: Path, observer: StepObserver | None = None, *, only_ask: bool = False
) -> Export:
    """Run every step that is not up to date, and write manifest and recipe.

    A precision that fails a check ends there, and the others go on; ``Export.require_success`` raises its failure.

    Args:
        request: what to export.
        path: the folder for this model's artifacts, as ``build/XS``.
        observer: is told about each step.
        only_ask: tell the observer what would run, and write nothing.

    Raises:
        BadInput: the checkpoint, a plan or a folder of images cannot be used, or the folder cannot be written.
        CheckFailed: ``request.strict``, and the checkpoint is not the declared model.
    """
    folder = Folder(path, observer or StepObserver(), only_ask=only_ask)
    with folder.held():
        steps = run_steps(folder, request)
        if only_ask:
            return Export(path, steps, None)
        manifest = manifest_of(folder, request, steps)
        recipe = write_recipe(path, recipe_of(manifest, request.plan))
        write_manifest(path, manifest)
    return Export(path, steps, manifest, recipe)


def run_steps(folder: Folder, request: ExportRequest) -> StepResults:
    """Run every step that is not up to date, while the folder is held."""
    weights = weights_step(folder, request)
    results = StepResults(weights)
    require_plans(request, weights)  # first of all: they may refuse what the user named
    if set(request.precisions) != {"fp32"}:
        try:
            results.calibration = calibration_step(folder, request, weights)
        except BadInput as failure:
            if request.calibration is not None:
                raise
            results.refused = {e: failure for e in request.variants if precision_of(e) != "fp32"}
    truth = truth_step(folder, request, weights)
    for variant in request.variants:
        try:
            if variant not in results.refused:
                _export_variant(folder, request, truth, variant, results)
        except CheckFailed as failure:
            results.refused[variant] = failure
    return results


def require_plans(request: ExportRequest, weights: Made) -> None:
    """Check the plans that the user gave before anything slow.

    Raises:
        BadInput: one cannot be used for these weights.
    """
    if request.plans and weights.result:
        from export.model.architecture import Architecture
        from export.plan.precision_plan import give_back, read_plan

        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in weights.result["architecture"].items()
        }
        fields.pop("heatmap_size")
        for path in request.plans.values():
            give_back(read_plan(path, Architecture(**fields)), weights.outputs[WEIGHTS])


def _export_variant(folder: Folder, request: ExportRequest, truth: Made, variant: str, results: StepResults) -> None:
    """Add what is made of one variant to ``results``; no engine is built from a file that fails its parity."""
    weights, precision, plan = results.weights, precision_of(variant), None
    if precision != "fp32":
        half = precision if precision in HALVES else "fp16"  # what is around int8
        results.ranges[half] = results.ranges.get(half) or ranges_step(folder, request, weights, half)
        require_range(results.ranges[half].result, precision, half)
        plan = results.plans.get(precision)
        if plan is None:
            assert results.calibration is not None
            plan = plan_step(folder, request, weights, results.calibration, truth, precision)
            results.plans[precision] = plan
        if plan.result:
            require_left(plan.result)
    onnx = results.onnx[variant] = onnx_step(folder, request, weights, variant, plan)
    results.parity[variant] = parity_step(folder, request, onnx, truth, plan, variant)
    if results.passed(variant):
        results.engine[variant] = engine_step(folder, request, onnx, variant, plan)
