"""Results of the steps of one export, by precision or input format."""

from dataclasses import dataclass, field

from export.common.errors import BadInput, CheckFailed, Failure
from export.parity.comparison import require_parity
from export.pipeline.steps import Made, NotBuilt


@dataclass
class StepResults:
    """Results in the order in which they were made."""

    weights: Made
    ranges: dict[str, Made] = field(default_factory=dict)
    """By precision."""
    calibration: Made | None = None
    plans: dict[str, Made] = field(default_factory=dict)
    """By precision."""
    onnx: dict[str, Made] = field(default_factory=dict)
    parity: dict[str, Made] = field(default_factory=dict)
    engine: dict[str, Made | NotBuilt] = field(default_factory=dict)
    refused: dict[str, Failure] = field(default_factory=dict)
    """Variants without an ONNX file, and why."""

    def passed(self, variant: str) -> bool:
        """Return whether this variant's ONNX file passed its parity, as far as that is known yet."""
        return variant in self.parity and self.parity[variant].result.get("outcome", "pass") == "pass"

    def require_success(self) -> None:
        """End with the exit code of the first precision that failed a check, or whose engine could not be built.

        Raises:
            CheckFailed, Inconclusive: see ``require_parity`` and ``export.graph.ranges.require_range``.
            BadInput: no builder could do with an engine what was asked for, as with too little workspace.
        """
        for refusal in self.refused.values():
            raise refusal
        for variant, made in self.parity.items():
            if not self.passed(variant):
                require_parity(made.result["outcome"], made.result["reason"], made.result["artifact"])
        for precision, engine in self.engine.items():
            if isinstance(engine, NotBuilt) and engine.failure is not None:
                do = "the ONNX file is sound; mend the builder's trouble and run again"
                kind = BadInput if isinstance(engine.failure, BadInput) else CheckFailed
                raise kind(f"the {precision} engine could not be built", engine.reason, do) from engine.failure
