"""The request of an export, and the search for its checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from export.checkpoint.weights_folder import WeightsFolder
from export.common.errors import BadInput
from export.common.files import PROJECT, sha256_path
from export.common.interface import PRECISIONS, precision_of, variant_of
from export.engine.plan import EnginePlan
from export.model.config import ModelConfig
from export.parity.budgets import GRADES
from export.synthetic.growth import Growth, plan_growth


@dataclass(frozen=True)
class ExportRequest:
    """One export.

    Raises:
        BadInput: options that contradict each other, or ``strict`` without a checkpoint.
    """

    config: ModelConfig
    checkpoint: Path | None = None
    """None: the weights are grown from a demo checkpoint or, if that is not possible, random."""
    overrides: Mapping[str, int] = field(default_factory=dict)
    """Field of the architecture → value, for fields that weights do not show."""
    precisions: tuple[str, ...] = ("fp32",)
    strict: bool = False
    plan: EnginePlan = field(default_factory=EnginePlan)
    with_preprocess: bool = False
    """True: each precision is also written as a graph that takes pixels."""
    parity_images: Path | None = None
    """A folder of crops of people for parity; None: drawn figures."""
    calibration: Path | None = None
    """A folder of crops of people for calibration; None: drawn figures."""
    plans: Mapping[str, Path] = field(default_factory=dict)
    """Precision → a plan of an earlier export, which is used unchanged."""
    weights_key: str | None = None
    """Key of the weights in the checkpoint, if it holds several networks; None: the averaged one."""
    require: str | None = None
    """The grade of error that every precision must reach; None: that of ``export.parity.budgets.REQUIRED_GRADE``."""

    def __post_init__(self) -> None:
        if self.strict and self.origin != "checkpoint":
            do = f"name one, or put one into weights/ as {' or '.join(self.config.files) or 'the configuration says'}"
            raise BadInput("--strict needs a checkpoint", "none", do)
        if self.weights_key is not None and self.origin != "checkpoint":
            raise BadInput("--weights-key needs a checkpoint", self.weights_key, "name one, or leave the option out")
        precisions = f"precisions {', '.join(self.precisions)}"
        if self.calibration is not None and set(self.precisions) <= {"fp32"}:
            raise BadInput(
                "fp32 needs no calibration", precisions, "add fp16, bf16 or int8 to --precision, or leave it out"
            )
        if unused := [precision for precision in self.plans if precision not in self.precisions]:
            do = f"add {unused[0]} to --precision, or leave it out"
            raise BadInput(f"--plan is for {unused[0]}", precisions, do)
        if self.require is not None and self.require not in GRADES:
            raise BadInput("unknown grade of error", self.require, f"choose {' or '.join(GRADES)}")
        if self.require == "exact" and set(self.precisions) != {"fp32"}:
            raise BadInput("only fp32 can be exact", precisions, "require near or usable")
        for precision in self.precisions:
            self.engine_plan(precision)
        if self.plan.tf32 and "fp32" not in self.precisions:
            do = "add fp32 to --precision, or leave it out"
            raise BadInput("--tf32 is for fp32", precisions, do)

    @property
    def origin(self) -> Literal["checkpoint", "demo", "stand-in"]:
        """The kind of weights."""
        if self.checkpoint is None:
            return "demo" if self.growth else "stand-in"
        demo = demo_checkpoint(self.config)
        return "demo" if demo and self.checkpoint.absolute() == demo else "checkpoint"

    @cached_property
    def growth(self) -> Growth | None:
        """The source of grown weights; None with a checkpoint, or if no demo checkpoint can be grown."""
        return plan_growth(self.config, self.overrides) if self.checkpoint is None else None

    @cached_property
    def checkpoint_sha256(self) -> str | None:
        """Hash of the checkpoint, or of the demo checkpoint that the weights are grown from."""
        from export.checkpoint.containers import check_size

        path = self.growth.checkpoint if self.growth else self.checkpoint
        if path is None:
            return None
        check_size(path)  # before it is hashed
        return sha256_path(path)

    @property
    def trained(self) -> bool:
        """True if the weights were trained, so that the accuracy loss of a precision can be measured on them."""
        return self.origin != "stand-in"

    @property
    def variants(self) -> tuple[str, ...]:
        """The ONNX files of the export: each precision, and its pixel variant if requested."""
        inputs = (False, True) if self.with_preprocess else (False,)
        return tuple(variant_of(p, takes_pixels=pixels) for p in self.precisions for pixels in inputs)

    def engine_plan(self, variant: str) -> EnginePlan:
        """Return the options of an engine of this variant."""
        return self.plan.in_precision(precision_of(variant))

    def onnx_path(self, variant: str) -> str:
        """Return the path of the ONNX file within the model's folder."""
        return f"onnx/{self.config.name}-{variant}.onnx"


def choose_checkpoint(config: ModelConfig, path: Path | None, folder: WeightsFolder | None = None) -> Path | None:
    """Return the user's checkpoint, the file in ``folder`` that fits, or the model's demo checkpoint.

    Raises:
        BadInput: the folder has no file, or several, as ``WeightsFolder.find`` says; its name is not valid text.
    """
    if path is not None:
        return path
    path = (folder or WeightsFolder()).find(config)
    if path is None:
        return demo_checkpoint(config)
    require_plain_paths(path)
    return path


def demo_checkpoint(config: ModelConfig) -> Path | None:
    """Return the model's checkpoint that was trained on drawn figures, if it has one."""
    path = PROJECT / config.demo if config.demo else None
    return path if path and path.is_file() else None


def require_plain_paths(*paths: Path) -> None:
    """Refuse paths that cannot be written into JSON.

    Raises:
        BadInput: a name is not valid text.
    """
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise BadInput("a path is not valid UTF-8", repr(str(path)), "rename the file or folder") from error


def parse_precisions(text: str) -> tuple[str, ...]:
    """Parse ``"fp32,fp16"`` to ``("fp32", "fp16")``.

    Raises:
        BadInput: an unknown precision, or none.
    """
    precisions = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [precision for precision in precisions if precision not in PRECISIONS]
    if unknown or not precisions:
        raise BadInput("unknown precision", text or "nothing", f"choose from {', '.join(PRECISIONS)}")
    return precisions
