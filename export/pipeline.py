"""The main job: from a model's name, and a checkpoint if there is one, to a folder of proven artefacts.

    weights ──► ranges ──► onnx ──► parity ──► engine
       └──► truth ────────────────────┘

``ranges`` is for half precisions only: whether they can hold the network's values, and what rounding alone costs.
For int8 an ``int8-plan`` stands beside it: which convolutions are quantised, with which scales, at what cost.

The steps themselves stand in ``export.model_steps``; here is in which order they are taken, and what ends a run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from export.errors import BadInput, CheckFailed
from export.interface import HALVES, precision_of
from export.model_steps import (
    INT8_REFERENCE,
    engine_step,
    int8_plan_step,
    onnx_step,
    parity_step,
    ranges_step,
    truth_step,
)
from export.parity import require
from export.ranges import require_range
from export.request import Request
from export.steps import Folder, Made


@dataclass
class Exported:
    """The steps' results by edition, in the order in which they were made."""

    weights: Made
    ranges: dict[str, Made] = field(default_factory=dict)
    """By precision."""
    int8_plan: Made | None = None
    onnx: dict[str, Made] = field(default_factory=dict)
    parity: dict[str, Made] = field(default_factory=dict)
    engine: dict[str, Made] = field(default_factory=dict)
    refused: dict[str, CheckFailed] = field(default_factory=dict)
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
    if "int8" in request.precisions:  # first of all: it may refuse what the user named
        try:
            exported.int8_plan = int8_plan_step(folder, request, weights)
        except CheckFailed as failure:
            exported.refused = {e: failure for e in request.editions if precision_of(e) == "int8"}
    truth = truth_step(folder, request, weights)
    for edition in request.editions:
        try:
            if edition not in exported.refused:
                _export_edition(folder, request, truth, edition, exported)
        except CheckFailed as failure:
            exported.refused[edition] = failure
    return exported


def _export_edition(folder: Folder, request: Request, truth: Made, edition: str, exported: Exported) -> None:
    """Add what is made of one edition to ``exported``; no engine is built from a file that fails its parity."""
    weights, precision, reference = exported.weights, precision_of(edition), None
    if precision != "fp32":
        half = precision if precision in HALVES else "fp16"  # what is around int8
        ranges = exported.ranges[half] = ranges_step(folder, request, weights, half)
        require_range(ranges.result, precision, half)
        reference = ranges, request.rounded_path(half)
    if precision == "int8":
        assert exported.int8_plan is not None
        require_int8(exported.int8_plan.result)
        reference = exported.int8_plan, INT8_REFERENCE
    onnx = exported.onnx[edition] = onnx_step(folder, request, weights, edition, exported.int8_plan)
    exported.parity[edition] = parity_step(folder, request, onnx, truth, reference, edition)
    if exported.passed(edition):
        exported.engine[edition] = engine_step(folder, request, onnx, edition, exported.int8_plan)


def require_int8(plan: Mapping[str, Any]) -> None:
    """See that a plan leaves something in int8.

    Raises:
        CheckFailed: it does not; no file would be one of int8.
    """
    if plan and not any(conv["quantised"] for conv in plan["convs"]):
        from export.int8_plan import GIVEN

        seen = "the plan that was given quantises nothing" if GIVEN in plan["search"] else plan["search"][-1]
        do = "ask for fp16; or calibrate with crops of what the network was trained on (--calibration)"
        raise CheckFailed("no convolution bears int8 within its budget", seen, do)


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
