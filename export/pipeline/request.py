"""What the user asked for, and where it is looked for and put."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

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
        BadInput: ``strict`` without a checkpoint, or a plan that cannot be had in one of the precisions.
    """

    config: ModelConfig
    checkpoint: Path | None = None
    """None: the weights are grown from a demo checkpoint or, where that is not possible, random."""
    overrides: Mapping[str, int] = field(default_factory=dict)
    """Field of the architecture → value, where the weights do not show it."""
    precisions: tuple[str, ...] = ("fp32",)
    strict: bool = False
    plan: EnginePlan = field(default_factory=EnginePlan)
    with_preprocess: bool = False
    """Whether each precision is written a second time, as a graph that takes pixels."""
    parity_images: Path | None = None
    """A folder of crops of people that parity is judged on; without it drawn figures are used."""
    calibration: Path | None = None
    """A folder of crops of people; without it drawn figures are used."""
    plans: Mapping[str, Path] = field(default_factory=dict)
    """Precision → a plan of an earlier export, which is used as it is."""
    require: str | None = None
    """The grade of error that every precision must reach; None: that of ``export.parity.budgets.REQUIRED_GRADE``."""

    def __post_init__(self) -> None:
        if self.strict and self.origin != "checkpoint":
            do = f"name one, or put one into weights/ as {' or '.join(self.config.files) or 'the configuration says'}"
            raise BadInput("--strict needs a checkpoint to judge", "none", do)
        seen = f"precisions {', '.join(self.precisions)}"
        if self.calibration is not None and set(self.precisions) <= {"fp32"}:
            raise BadInput("fp32 needs no calibration", seen, "add fp16, bf16 or int8 to --precision, or leave it out")
        if unused := [precision for precision in self.plans if precision not in self.precisions]:
            do = f"add {unused[0]} to --precision, or leave it out"
            raise BadInput(f"--plan is for {unused[0]}", seen, do)
        if self.require is not None and self.require not in GRADES:
            raise BadInput("unknown grade of error", self.require, f"choose {' or '.join(GRADES)}")
        if self.require == "exact" and set(self.precisions) != {"fp32"}:
            raise BadInput("only fp32 can be exact", seen, "require near or usable")
        for precision in self.precisions:
            self.engine_plan(precision)
        if self.plan.tf32 and "fp32" not in self.precisions:
            do = "add fp32 to --precision, or leave it out"
            raise BadInput("--tf32 is for fp32", f"precisions {', '.join(self.precisions)}", do)

    @property
    def origin(self) -> Literal["checkpoint", "demo", "stand-in"]:
        """Where the weights come from."""
        if self.checkpoint is None:
            return "demo" if self.growth else "stand-in"
        demo = demo_checkpoint(self.config)
        return "demo" if demo and self.checkpoint.absolute() == demo else "checkpoint"

    @cached_property
    def growth(self) -> Growth | None:
        """The demo checkpoint that the weights are grown from; None with a checkpoint, or if that is not possible."""
        return plan_growth(self.config, self.overrides) if self.checkpoint is None else None

    @cached_property
    def checkpoint_sha256(self) -> str | None:
        """Hash of the file or folder as it was found; of the demo checkpoint where the weights are grown from it."""
        path = self.growth.checkpoint if self.growth else self.checkpoint
        return sha256_path(path) if path else None

    @property
    def trained(self) -> bool:
        """Whether the weights are anybody's, so that the price of a precision can be measured on them."""
        return self.origin != "stand-in"

    @property
    def variants(self) -> tuple[str, ...]:
        """The ONNX files that are asked for: each precision, and its pixel variant where that is asked for."""
        inputs = (False, True) if self.with_preprocess else (False,)
        return tuple(variant_of(p, takes_pixels=pixels) for p in self.precisions for pixels in inputs)

    def engine_plan(self, variant: str) -> EnginePlan:
        """What is asked of an engine of this variant."""
        return self.plan.in_precision(precision_of(variant))

    def ranges_path(self, precision: str) -> str:
        """Where the report on the values' ranges lies within the model's folder."""
        return f"parity/{precision}-ranges.json"

    def onnx_path(self, variant: str) -> str:
        """Where the ONNX file lies within the model's folder."""
        return f"onnx/{self.config.name}-{variant}.onnx"


def choose_checkpoint(config: ModelConfig, named: Path | None) -> Path | None:
    """Return the checkpoint that was named, the released one in ``weights/``, or the model's demo checkpoint."""
    return named or find_checkpoint(config, Path("weights")) or demo_checkpoint(config)


def find_checkpoint(config: ModelConfig, folder: Path) -> Path | None:
    """The released file, or the folder unpacked from it, in ``folder``; None if there is none.

    A link that leads nowhere is found too: reading it then says what is wrong.
    """
    for name in config.files:
        for path in (folder / name, folder / Path(name).stem):
            if path.exists() or path.is_symlink():
                return path
    return None


def demo_checkpoint(config: ModelConfig) -> Path | None:
    """The model's checkpoint that was trained on drawn figures, if it has one."""
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
    """``"fp32,fp16"`` → ``("fp32", "fp16")``.

    Raises:
        BadInput: an unknown precision, or none.
    """
    asked = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [precision for precision in asked if precision not in PRECISIONS]
    if unknown or not asked:
        raise BadInput("unknown precision", text or "nothing", f"choose of {', '.join(PRECISIONS)}")
    return asked
