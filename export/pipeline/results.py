"""Results of all steps of one export, by precision or variant."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from export.checkpoint.records import CheckpointRecord
from export.common.errors import BadInput, CheckFailed, Failure
from export.common.interface import precision_of
from export.engine.record import EngineRecord
from export.graph.onnx_record import OnnxRecord
from export.parity.budgets import PASS
from export.parity.comparison import require_parity
from export.pipeline.reports import ImagesReport, ParityReport, RangesReport
from export.pipeline.steps import StepResult

if TYPE_CHECKING:
    from export.plan.precision_plan import PrecisionPlan


@dataclass(frozen=True)
class NotBuilt:
    """An engine that could not be built here; the next run tries again."""

    status: Literal["not run", "failed"]
    reason: str
    failure: Failure | None = None
    """The error of a failed build."""


@dataclass
class ExportResults:
    """Results of the steps, in their order."""

    weights: StepResult[CheckpointRecord]
    truth: StepResult[ImagesReport]
    calibration: StepResult[ImagesReport] | None = None
    """None if all precisions are FP32, or all others are refused."""
    ranges: dict[str, StepResult[RangesReport]] = field(default_factory=dict)
    """Precision → result."""
    plans: "dict[str, StepResult[PrecisionPlan]]" = field(default_factory=dict)
    """Precision → result."""
    onnx: dict[str, StepResult[OnnxRecord]] = field(default_factory=dict)
    """Variant → result; so are those below."""
    parity: dict[str, StepResult[ParityReport]] = field(default_factory=dict)
    engine: dict[str, StepResult[EngineRecord] | NotBuilt] = field(default_factory=dict)
    refused: dict[str, Failure] = field(default_factory=dict)
    """The error of each variant without an ONNX file."""

    def plan(self, variant: str) -> "StepResult[PrecisionPlan] | None":
        """Return the result of a variant's precision plan; None for FP32."""
        return self.plans.get(precision_of(variant))

    def passed(self, variant: str) -> bool:
        """Return whether this ONNX file passed its parity; a dry run takes it for granted."""
        result = self.parity.get(variant)
        return result is not None and (result.value is None or result.value.outcome == PASS)

    def require_success(self) -> None:
        """Raise the first failure: of a precision, of parity, or of an engine's build.

        Raises:
            CheckFailed, Inconclusive: see ``require_parity`` and ``export.graph.ranges.require_range``.
            BadInput: the builder cannot honour the request, such as too little workspace.
        """
        for refusal in self.refused.values():
            raise refusal
        for variant, result in self.parity.items():
            if not self.passed(variant):
                report = result.get()
                require_parity(report.outcome, report.reason, report.artifact)
        for variant, engine in self.engine.items():
            if isinstance(engine, NotBuilt) and engine.failure is not None:
                advice = "the ONNX file is sound; fix the builder's problem and run again"
                kind = BadInput if isinstance(engine.failure, BadInput) else CheckFailed
                raise kind(f"the {variant} engine could not be built", engine.reason, advice) from engine.failure
