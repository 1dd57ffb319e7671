"""The main job: from a model's name, and a checkpoint if there is one, to a folder of proven artefacts.

    weights ──► ranges ──► plan ──► onnx ──► parity ──► engine
       ├──► calibration ────┘                   │
       └──► truth ──────────────────────────────┘

``calibration``, ``ranges`` and ``plan`` are for half precisions and INT8: images, the largest values, and which
convolutions compute in which precision, with their rounded weights.

The steps themselves stand in ``export.model_steps``; here is in which order they are taken, and what ends a run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from export.errors import BadInput, CheckFailed, Failure
from export.interface import HALVES, precision_of
from export.model_steps import (
    WEIGHTS,
    calibration_step,
    engine_step,
    onnx_step,
    parity_step,
    plan_step,
    ranges_step,
    truth_step,
)
from export.parity import require
from export.plan_record import require_left
from export.ranges import require_range
from export.request import Request
from export.steps import Folder, Made


@dataclass
class Exported:
    """The steps' results by edition, in the order in which they were made."""

    weights: Made
    ranges: dict[str, Made] = field(default_factory=dict)
    """By precision."""
    calibration: Made | None = None
    plans: dict[str, Made] = field(default_factory=dict)
    """By precision."""
    onnx: dict[str, Made] = field(default_factory=dict)
    parity: dict[str, Made] = field(default_factory=dict)
    engine: dict[str, Made] = field(default_factory=dict)
    refused: dict[str, Failure] = field(default_factory=dict)
    """Editions of which no ONNX file was written, and why."""

    def passed(self, edition: str) -> bool:
        """Whether the ONNX file of this edition is there and its parity is a pass, as far as is known yet."""
        return edition in self.parity and self.parity[edition].result.get("outcome", "pass") == "pass"

    @property
    def failed(self) -> tuple[Mapping[str, Any], ...]:
        """Parity results that are not a pass."""
        return tuple(made.result for edition, made in self.parity.items() if not self.passed(edition))


def export_model(folder: Folder, request: Request, weights: Made) -> Exported:
    """Do every step after ``weights_step`` that is not up to date. Call it while the folder is held.

    A precision that fails a check ends there, and the others go on; ``require_success`` tells at the end.
    """
    exported = Exported(weights)
    require_plans(request, weights)  # first of all: they may refuse what the user named
    if set(request.precisions) != {"fp32"}:
        try:
            exported.calibration = calibration_step(folder, request, weights)
        except BadInput as failure:
            if request.calibration is not None:
                raise
            exported.refused = {e: failure for e in request.editions if precision_of(e) != "fp32"}
    truth = truth_step(folder, request, weights)
    for edition in request.editions:
        try:
            if edition not in exported.refused:
                _export_edition(folder, request, truth, edition, exported)
        except CheckFailed as failure:
            exported.refused[edition] = failure
    return exported


def require_plans(request: Request, weights: Made) -> None:
    """Check the plans that the user gave before anything slow.

    Raises:
        BadInput: one cannot be used for these weights.
    """
    if request.plans and weights.result:
        from export.architecture import Architecture
        from export.precision_plan import give_back, read_plan

        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in weights.result["architecture"].items()
        }
        fields.pop("heatmap_size")
        for path in request.plans.values():
            give_back(read_plan(path, Architecture(**fields)), weights.outputs[WEIGHTS])


def _export_edition(folder: Folder, request: Request, truth: Made, edition: str, exported: Exported) -> None:
    """Add what is made of one edition to ``exported``; no engine is built from a file that fails its parity."""
    weights, precision, plan = exported.weights, precision_of(edition), None
    if precision != "fp32":
        half = precision if precision in HALVES else "fp16"  # what is around int8
        exported.ranges[half] = exported.ranges.get(half) or ranges_step(folder, request, weights, half)
        require_range(exported.ranges[half].result, precision, half)
        plan = exported.plans.get(precision)
        if plan is None:
            assert exported.calibration is not None
            plan = plan_step(folder, request, weights, exported.calibration, precision)
            exported.plans[precision] = plan
        if plan.result:
            require_left(plan.result)
    onnx = exported.onnx[edition] = onnx_step(folder, request, weights, edition, plan)
    exported.parity[edition] = parity_step(folder, request, onnx, truth, plan, edition)
    if exported.passed(edition):
        exported.engine[edition] = engine_step(folder, request, onnx, edition, plan)


def require_success(exported: Exported) -> None:
    """End with the exit code of the first precision that failed a check, or whose engine could not be built.

    Raises:
        CheckFailed, Inconclusive: see ``export.parity.require`` and ``export.ranges.require_range``.
        BadInput: no builder could do with an engine what was asked for, as with too little workspace.
    """
    for refusal in exported.refused.values():
        raise refusal
    for failed in exported.failed:
        require(failed["outcome"], failed["reason"], failed["artifact"])
    for precision, engine in exported.engine.items():
        if engine.result.get("not_made") == "failed":
            do = "the ONNX file is sound; mend the builder's trouble and run again"
            kind = BadInput if engine.result["exit_code"] == BadInput.exit_code else CheckFailed
            raise kind(f"the {precision} engine could not be built", engine.result["reason"], do)
