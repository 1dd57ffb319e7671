"""Settings of an engine's build, checked before any builder starts."""

from dataclasses import dataclass, replace
from pathlib import Path

from export.common.errors import BadInput
from export.common.interface import PRECISIONS
from export.runtime.engine_builder import BuilderSettings
from export.runtime.engine_file import PRODUCTS

RTX_TARGETS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""Compute capabilities that TensorRT-RTX 1.7 compiles for. It refuses 8.7 (Orin), 9.0 (H100), 10.0 and 11.0 (Thor)."""

DEFAULT_RTX_TARGETS = ("8.0", "8.6", "8.9", "12.0")
"""NVIDIA's own default for builds without a GPU. Turing (7.5) works on request, but has no BF16 or FP8."""

TARGETS_WITHOUT: dict[str, dict[str, str]] = {
    "bf16": {"7.5": "Turing has no BF16"},
    "int8": {"7.5": "TensorRT-RTX has no INT8 convolution for Turing, so what it builds there is none"},
}
"""Precision → compute capability that lacks it → reason. For INT8 the library says so itself, and still builds."""

AUTO = "auto"
RUNTIMES = (AUTO, *(product.option for product in PRODUCTS.values()))


@dataclass(frozen=True)
class EnginePlan:
    """Settings of one build.

    ``precision`` switches nothing on: it lies in the ONNX file's types, and the two must agree.

    Raises:
        BadInput: a value that no builder can use.
    """

    runtime: str = AUTO
    """``tensorrt``, ``tensorrt-rtx``, or ``auto``: TensorRT where it can build, else TensorRT-RTX."""
    precision: str = "fp32"
    batch_min: int = 1
    batch_opt: int = 1
    batch_max: int = 8
    workspace_bytes: int = 1 << 30
    optimization_level: int = 3
    """Effort of the search for kernels, 0 to 5; TensorRT only."""
    tf32: bool = False
    """Multiply FP32 with 10 bits of mantissa; for fp32 only, since no other precision multiplies in FP32."""
    targets: tuple[str, ...] | None = None
    """Compute capabilities; None: the library's default. TensorRT-RTX only."""
    hardware_compatible: bool = False
    """Runs on every Ampere and newer GPU, more slowly; TensorRT only, and not on Jetsons."""
    version_compatible: bool = False
    """Runs on later versions of TensorRT, more slowly; TensorRT only."""

    def __post_init__(self) -> None:
        batches = (self.batch_min, self.batch_opt, self.batch_max)
        order = 1 <= batches[0] <= batches[1] <= batches[2]
        _require(order, "impossible batch sizes (min, opt, max)", batches, "give 1 <= min <= opt <= max")
        known = f"choose one of {', '.join(RUNTIMES)}"
        _require(self.runtime in RUNTIMES, "unknown runtime for engines", self.runtime, known)
        known = f"choose one of {', '.join(PRECISIONS)}"
        _require(self.precision in PRECISIONS, "unknown precision", self.precision, known)
        _require(self.workspace_bytes >= 1, "impossible workspace in bytes", self.workspace_bytes, "give at least 1")
        level = self.optimization_level
        _require(level in range(6), "impossible optimisation level", level, "give 0 to 5")
        useless = self.tf32 and self.precision != "fp32"
        _require(
            not useless, "TF32 is for FP32 convolutions", f"a file of {self.precision} has none", "leave out --tf32"
        )
        if self.targets is not None:
            _check_targets(self.targets, self.precision)

    @property
    def settings(self) -> BuilderSettings:
        """The builder's settings."""
        return BuilderSettings(
            workspace_bytes=self.workspace_bytes,
            optimization_level=self.optimization_level,
            tf32=self.tf32,
            hardware_compatible=self.hardware_compatible,
            version_compatible=self.version_compatible,
            targets=self.targets or (),
        )

    def in_precision(self, precision: str) -> "EnginePlan":
        """Return the same plan for a file of another precision.

        Raises:
            BadInput: a target lacks that precision.
        """
        return replace(self, precision=precision, tf32=self.tf32 and precision == "fp32")


@dataclass(frozen=True)
class BuildJob:
    """One engine to build, as the builder process gets it in JSON."""

    product: str
    """Module of the library."""
    onnx: Path
    engine: Path
    plan: EnginePlan
    inspect: bool
    """True: a GPU of this machine loads the engine, so that its types can be checked."""


def _check_targets(targets: tuple[str, ...], precision: str) -> None:
    unknown = ", ".join(target for target in targets if target not in RTX_TARGETS)
    known = f"choose from {', '.join(RTX_TARGETS)}"
    _require(not unknown, "TensorRT-RTX builds no engine for this compute capability", unknown, known)
    without = TARGETS_WITHOUT.get(precision, {})
    reasons = "; ".join(f"{target}: {without[target]}" for target in targets if target in without)
    _require(not reasons, f"this compute capability has no {precision}", reasons, "leave it out, or ask for fp16")
    once = 0 < len(targets) == len(set(targets))
    _require(once, "targets must be named, each once", targets, "leave targets out for the default")


def _require(condition: bool, problem: str, detail: object, advice: str) -> None:
    if not condition:
        raise BadInput(problem, str(detail), advice)
