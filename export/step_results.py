"""Results of the steps of one export, by precision or input format."""

from dataclasses import dataclass, field

from export.errors import BadInput, CheckFailed, Failure
from export.parity import require
from export.steps import Made


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
    engine: dict[str, Made] = field(default_factory=dict)
    refused: dict[str, Failure] = field(default_factory=dict)
    """Editions without an ONNX file, and why."""

    def passed(self, edition: str) -> bool:
        """Return whether this edition's ONNX file passed its parity, as far as that is known yet."""
        return edition in self.parity and self.parity[edition].result.get("outcome", "pass") == "pass"

    def require_success(self) -> None:
        """End with the exit code of the first precision that failed a check, or whose engine could not be built.

        Raises:
            CheckFailed, Inconclusive: see ``export.parity.require`` and ``export.ranges.require_range``.
            BadInput: no builder could do with an engine what was asked for, as with too little workspace.
        """
        for refusal in self.refused.values():
            raise refusal
        for edition, made in self.parity.items():
            if not self.passed(edition):
                require(made.result["outcome"], made.result["reason"], made.result["artifact"])
        for precision, engine in self.engine.items():
            if engine.result.get("not_made") == "failed":
                do = "the ONNX file is sound; mend the builder's trouble and run again"
                kind = BadInput if engine.result["exit_code"] == BadInput.exit_code else CheckFailed
                raise kind(f"the {precision} engine could not be built", engine.result["reason"], do)
