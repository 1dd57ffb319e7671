"""Which convolution computes in which precision, why, and what that was measured on."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from export.common.errors import BadInput
from export.common.records import read_record
from export.images.image_set import ImagesRecord, set_sha256
from export.model.architecture import Architecture
from export.plan.calibration import NEEDED_IMAGES
from export.plan.placement import LeftAlone, PlannedConv, left_alone, place, segment_of
from export.plan.plan_record import plan_summary
from export.plan.scales import LARGEST_SCALE, SMALLEST_SCALE, stored_scale

SCHEMA_VERSION = "3.0"
BY_HAND = "changed by hand in the plan that was given"
GIVEN = "read from a file; not measured again"
DO = "take a plan of an earlier export of the same checkpoint, or leave --plan out"


@dataclass(frozen=True)
class PrecisionPlan:
    """Every convolution in the order of the data, what is no convolution, and the images behind it."""

    precision: str
    """What was asked for: fp16, bf16 or int8."""
    architecture: Architecture
    convs: tuple[PlannedConv, ...]
    left_alone: tuple[LeftAlone, ...]
    calibration: ImagesRecord
    weights_sha256: str | None = None
    """Of the canonical weights' file; None where there was none, and such a plan cannot be given back."""
    aim: str | None = None
    """The grade of error that the search reached on the calibration images; None if it was not searched."""
    mean_mm: float | None = None
    """Mean error of the simulated network on the calibration images, against the network in FP32."""
    p99_mm: float | None = None
    search: tuple[str, ...] = ()
    """What the search did, a line a step."""
    search_seconds: float | None = None
    schema_version: str = SCHEMA_VERSION

    @property
    def quantized(self) -> tuple[PlannedConv, ...]:
        """The convolutions in INT8."""
        return tuple(conv for conv in self.convs if conv.precision == "int8")

    @property
    def in_fp32(self) -> frozenset[str]:
        """Names of the segments that stay in FP32."""
        return frozenset(segment_of(conv.name) for conv in self.convs if conv.precision == "fp32")

    def share(self, precision: str) -> float:
        """Return the share of all multiplies that are in this precision."""
        return sum(conv.macs for conv in self.convs if conv.precision == precision) / sum(c.macs for c in self.convs)

    def keeping(self, names: Collection[str], precision: str, reason: str) -> "PrecisionPlan":
        """Return the same plan with these convolutions in a higher precision."""
        return replace(
            self,
            convs=tuple(
                replace(conv, precision=precision, reason=reason) if conv.name in names else conv for conv in self.convs
            ),
        )

    def summary(self) -> str:
        """Return one line, as ``FP16, 3 of 48 convolutions in FP32``."""
        return plan_summary(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return plain data; ``read_plan`` reads it."""
        return asdict(self)


def read_plan(path: Path, architecture: Architecture) -> PrecisionPlan:
    """Read a plan that an earlier run wrote, perhaps edited.

    An edit may move convolutions to a higher precision, and change the equalization of one in INT8; scales and weights
    are computed again. It may not put into INT8 what the placement leaves out, and a segment is in FP32 as a whole or
    not at all.

    Raises:
        BadInput: not a plan, of another schema version, for another network, of unknown calibration images, with a
            scale that FP16 cannot hold, or with a convolution in a precision that it cannot have.
    """
    plan = read_record(path, PrecisionPlan, (SCHEMA_VERSION,), "precision plan", DO)
    if plan.precision not in ("fp16", "bf16", "int8"):
        raise BadInput(f"{path} is no precision plan", f"precision: {plan.precision}", DO)
    rule = {conv.name: conv for conv in place(architecture, plan.precision)}
    _require_network(plan, architecture, rule, path)
    _require_calibration(plan.calibration, path)
    plan = replace(plan, convs=tuple(_checked(conv, rule[conv.name], plan.precision, path) for conv in plan.convs))
    split = [c.name for c in plan.convs if segment_of(c.name) in plan.in_fp32 and c.precision != "fp32"]
    if split:
        do = "set all convolutions of a block to fp32, or none"
        raise BadInput(f"{path} keeps a part of a block in FP32", f"not in FP32: {', '.join(split)}", do)
    return replace(plan, left_alone=left_alone(architecture, plan.precision))


def give_back(plan: PrecisionPlan, weights_sha256: str) -> PrecisionPlan:
    """Return a plan that the user named, for these weights, without what was measured of it.

    Raises:
        BadInput: it was made for other weights, or leaves nothing in its precision.
    """
    if plan.weights_sha256 != weights_sha256:
        seen = f"made for {_short(plan.weights_sha256)}, these are {_short(weights_sha256)}"
        raise BadInput("the precision plan is for other weights", seen, DO)
    if not any(conv.precision == plan.precision for conv in plan.convs):
        do = f"set some convolutions to {plan.precision}, or leave {plan.precision} out of --precision"
        raise BadInput("the precision plan leaves nothing", f"no convolution in {plan.precision}", do)
    convs = tuple(replace(conv, error_alone_mm=None) for conv in plan.convs)
    return replace(plan, convs=convs, aim=None, mean_mm=None, p99_mm=None, search=(GIVEN,), search_seconds=None)


def _require_network(plan: PrecisionPlan, here: Architecture, rule: dict[str, PlannedConv], path: Path) -> None:
    ours, theirs = asdict(here), asdict(plan.architecture)
    differing = [f"{field} {theirs[field]}, here {ours[field]}" for field in ours if theirs[field] != ours[field]]
    listed = [(conv.name, conv.kind) for conv in plan.convs]
    expected = [(conv.name, conv.kind) for conv in rule.values()]
    if not differing and listed != expected:
        names = sorted({name for name, _ in {*listed} ^ {*expected}}) or ["twice, or in another order"]
        differing = [f"convolutions: {', '.join(names[:4])}"]
    if differing:
        raise BadInput(f"{path} is for another network", "; ".join(differing), DO)


def _require_calibration(calibration: ImagesRecord, path: Path) -> None:
    """Refuse a plan without its images' hashes: nobody could see that parity is judged on others."""
    images = calibration.images
    known = (calibration.count, calibration.sha256) == (len(images), set_sha256(images))
    if not known or len(set(images)) < NEEDED_IMAGES:
        seen = f"{len(images)} hashes for {calibration.count} images" + ("" if known else ", not those of the set")
        raise BadInput(f"{path} does not tell which images it was calibrated on", seen, DO)


def _checked(conv: PlannedConv, rule: PlannedConv, precision: str, path: Path) -> PlannedConv:
    conv = replace(conv, macs=rule.macs)
    if precision == "int8" and conv.precision == "int8" and rule.precision != "int8":
        do = f"set it to fp16; TensorRT or the joints would suffer: {rule.reason}"
        raise BadInput(f"{path} quantizes what stays out of INT8", f"{conv.name} ({conv.kind})", do)
    allowed = {"fp16": ("fp16", "fp32"), "bf16": ("bf16", "fp32"), "int8": ("int8", "fp16")}[precision]
    if conv.precision not in allowed:
        do = f"choose {' or '.join(allowed)}"
        raise BadInput(f"{path} has a precision that cannot be had there", f"{conv.name}: {conv.precision}", do)
    needed = conv.precision == "int8" or conv.equalization is not None
    if needed and not (conv.equalization is not None and 0 <= conv.equalization <= 1):
        raise BadInput(f"{path} has no usable equalization", f"{conv.name}: {conv.equalization}", "give 0 to 1")
    if conv.precision != "int8":
        edited = conv.precision != rule.precision and conv.reason == rule.reason
        return replace(conv, reason=BY_HAND) if edited else conv
    scale = conv.input_scale
    if scale is None or not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
        seen = f"{conv.name}: {scale}; FP16 holds {SMALLEST_SCALE:.3g} to {LARGEST_SCALE:g}"
        raise BadInput(f"{path} has no usable scale", seen, DO)
    return replace(conv, reason=rule.reason, input_scale=stored_scale(scale))


def _short(sha256: str | None) -> str:
    return f"sha256 {sha256[:12]}…" if sha256 else "no checkpoint's"
