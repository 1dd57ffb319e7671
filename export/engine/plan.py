"""What can be asked of an engine's builder, and what each builder would take and not honour."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from export.common.errors import BadInput
from export.common.interface import PRECISIONS
from export.runtime import engine_file
from export.runtime.engine_builder import BuilderSettings
from export.runtime.engine_file import Product

RTX_TARGETS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""What TensorRT-RTX 1.7 can compile for; 8.7 (Orin), 9.0 (H100), 10.0 and 11.0 (Thor) it refuses."""

DEFAULT_RTX_TARGETS = ("8.0", "8.6", "8.9", "12.0")
"""NVIDIA's own default for builds without a GPU. Turing (7.5) works if asked, but it has no BF16 or FP8."""

TARGETS_WITHOUT: dict[str, dict[str, str]] = {
    "bf16": {"7.5": "Turing has no BF16"},
    "int8": {"7.5": "TensorRT-RTX has no INT8 convolution for Turing, so what it builds there is none"},
}
"""Precision → compute capability that lacks it → why. Of INT8 the library says so itself, and builds nevertheless."""

AUTO, NONE = "auto", "none"


@dataclass(frozen=True)
class Backend:
    """Everything that building with one of the two libraries needs to know."""

    library: Product
    suffix: str
    """How engine files of this runtime end, for whoever names them."""
    takes_targets: bool
    """Compiles ahead for any GPU named, without one; otherwise it tunes on this machine's GPU."""
    ignores: Mapping[str, str] = field(compare=False)
    """Settings of a plan that it would take and not honour → why."""

    @property
    def module(self) -> str:
        """Name of the Python module."""
        return self.library.module

    @property
    def product(self) -> str:
        """Name of the product."""
        return self.library.name

    @property
    def magic(self) -> str:
        """The first four bytes of a plan."""
        return self.library.magic.decode()

    @property
    def name(self) -> str:
        """As the command line calls it."""
        return self.module.replace("_", "-")


TENSORRT = Backend(
    engine_file.TENSORRT,
    suffix=".trt.engine",
    takes_targets=False,
    ignores={"targets": "it builds for this machine's GPU only"},
)
TENSORRT_RTX = Backend(
    engine_file.TENSORRT_RTX,
    suffix=".rtx.engine",
    takes_targets=True,
    ignores={
        "hardware_compatible": "it warns and goes on; name GPUs with --targets",
        "version_compatible": "it has no runtime for other versions; build again for each",
        "optimization_level": "it times no kernels; engines of levels 0, 3 and 5 were the same size, as soon as built",
        "timing_cache": "it times no kernels",
    },
)
BACKENDS = {backend.module: backend for backend in (TENSORRT, TENSORRT_RTX)}
RUNTIMES = (AUTO, *(backend.name for backend in BACKENDS.values()))


@dataclass(frozen=True)
class EnginePlan:
    """What is asked of a builder; ``targets=None`` means the runtime's default.

    ``precision`` switches nothing on: it lives in the ONNX file's types, and the two must agree.

    Raises:
        BadInput: a value that no builder could honour.
    """

    runtime: str = AUTO
    """``tensorrt``, ``tensorrt-rtx``, or ``auto``: TensorRT where it can build, else TensorRT-RTX."""
    precision: str = "fp32"
    batch_min: int = 1
    batch_opt: int = 1
    batch_max: int = 8
    workspace_bytes: int = 1 << 30
    optimization_level: int = 3
    """How long kernels are searched for, 0 to 5; TensorRT only."""
    tf32: bool = False
    """Multiply FP32 with 10 bits of mantissa; for fp32 only, since no other precision multiplies in FP32."""
    timing_cache: str = AUTO
    """The folder that keeps what the builder learns of a GPU; ``auto``: beside the engine; ``none``. TensorRT only."""
    targets: tuple[str, ...] | None = None
    hardware_compatible: bool = False
    """Runs on every Ampere and newer GPU, more slowly; TensorRT only, and not on Jetsons."""
    version_compatible: bool = False
    """Runs on later versions of TensorRT, more slowly; TensorRT only."""

    def __post_init__(self) -> None:
        def need(good: bool, what: str, seen: object, do: str) -> None:
            if not good:
                raise BadInput(what, str(seen), do)

        batches = (self.batch_min, self.batch_opt, self.batch_max)
        rule = "give 1 <= min <= opt <= max"
        need(1 <= batches[0] <= batches[1] <= batches[2], "impossible batch sizes (min, opt, max)", batches, rule)
        need(self.runtime in RUNTIMES, "unknown runtime for engines", self.runtime, f"choose of {', '.join(RUNTIMES)}")
        need(self.precision in PRECISIONS, "unknown precision", self.precision, f"choose of {', '.join(PRECISIONS)}")
        need(self.workspace_bytes >= 1, "impossible workspace in bytes", self.workspace_bytes, "give at least 1")
        need(self.optimization_level in range(6), "impossible optimisation level", self.optimization_level, "0 to 5")
        needless = f"a file of {self.precision} has none"
        need(not self.tf32 or self.precision == "fp32", "TF32 is for FP32 convolutions", needless, "leave out --tf32")
        need(bool(self.timing_cache), "no folder for the timing cache", "an empty name", f"name one, or give {NONE}")
        if self.targets is not None:
            bad = [target for target in self.targets if target not in RTX_TARGETS]
            what = "TensorRT-RTX builds no engine for this compute capability"
            need(not bad, what, ", ".join(bad), f"choose of {', '.join(RTX_TARGETS)}")
            lacking = TARGETS_WITHOUT.get(self.precision, {})
            why = "; ".join(f"{target}: {lacking[target]}" for target in self.targets if target in lacking)
            need(not why, f"this compute capability has no {self.precision}", why, "leave it out, or ask for fp16")
            once = 0 < len(self.targets) == len(set(self.targets))
            need(once, "targets must be named, each once", self.targets, "leave targets out for the default")

    @property
    def settings(self) -> BuilderSettings:
        """The part that is the builder's."""
        return BuilderSettings(
            workspace_bytes=self.workspace_bytes,
            optimization_level=self.optimization_level,
            tf32=self.tf32,
            hardware_compatible=self.hardware_compatible,
            version_compatible=self.version_compatible,
            targets=self.targets or (),
        )

    def in_precision(self, precision: str) -> "EnginePlan":
        """The same plan for a file of another precision.

        Raises:
            BadInput: a target lacks that precision.
        """
        return replace(self, precision=precision, tf32=self.tf32 and precision == "fp32")

    def honoured_by(self, backend: Backend) -> "EnginePlan":
        """The plan with the runtime's default targets.

        Raises:
            BadInput: something is asked for that this builder would take and not honour.
        """
        for name, why in backend.ignores.items():
            if getattr(self, name) != getattr(EnginePlan, name):
                option = f"--{name.replace('_', '-')}"
                do = f"leave it out, or choose another runtime of {', '.join(RUNTIMES[1:])}"
                raise BadInput(f"{backend.product} does not honour {option}", f"{getattr(self, name)}: {why}", do)
        return replace(self, targets=self.targets or DEFAULT_RTX_TARGETS) if backend.takes_targets else self
