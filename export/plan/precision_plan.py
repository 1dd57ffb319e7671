"""The precision plan: the precision of each convolution, the reason, and the images that it was measured on."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from export.common.errors import BadInput, CheckFailed
from export.common.records import read_record
from export.images.image_set import ImagesRecord, set_sha256
from export.model.architecture import Architecture
from export.plan.calibration import FEWEST_IMAGES
from export.plan.placement import PlannedConv, place, segment_of
from export.plan.scales import LARGEST_SCALE, SMALLEST_SCALE, stored_scale

SCHEMA_VERSION = "3.1"
READABLE = ("3.0", SCHEMA_VERSION)
"""3.0 also listed the values that no convolution computes."""
HIGHER = {"int8": "fp16", "fp16": "fp32", "bf16": "fp32"}
"""Precision → the next higher one, for convolutions that cost too much accuracy."""
BY_HAND = "changed by hand in the user's plan"
FROM_FILE = "read from a file; not measured again"
TOO_MANY = ": too many"
"""End of a search line about a grade that needs too many convolutions in the higher precision."""
ADVICE = "take a plan of an earlier export of the same checkpoint, or leave --plan out"


@dataclass(frozen=True)
class PrecisionPlan:
    """The convolutions in data order, and the calibration images."""

    precision: str
    """The requested precision: fp16, bf16 or int8."""
    architecture: Architecture
    convs: tuple[PlannedConv, ...]
    calibration: ImagesRecord
    weights_sha256: str | None = None
    """Hash of the weights' file; None if there is none, and then a user cannot pass the plan back."""
    aim: str | None = None
    """Grade that the search reached on the calibration and the parity images; None if there was no search."""
    mean_mm: float | None = None
    """Mean error of the simulated graph on the calibration images, against the FP32 network."""
    p99_mm: float | None = None
    search: tuple[str, ...] = ()
    """Log of the search, one line per step."""
    search_seconds: float | None = None
    schema_version: str = SCHEMA_VERSION

    @property
    def quantized(self) -> tuple[PlannedConv, ...]:
        """The convolutions in INT8."""
        return tuple(conv for conv in self.convs if conv.precision == "int8")

    @property
    def in_fp32(self) -> frozenset[str]:
        """Names of the segments in FP32."""
        return frozenset(segment_of(conv.name) for conv in self.convs if conv.precision == "fp32")

    @property
    def in_own_precision(self) -> frozenset[str]:
        """Names of the convolutions in the requested precision."""
        return frozenset(conv.name for conv in self.convs if conv.precision == self.precision)

    def share(self, precision: str) -> float:
        """Return the share of all multiplies in this precision."""
        return sum(conv.macs for conv in self.convs if conv.precision == precision) / sum(c.macs for c in self.convs)

    def raise_precision(self, names: Collection[str], reason: str) -> "PrecisionPlan":
        """Return the same plan with these convolutions in the next higher precision."""
        higher = HIGHER[self.precision]
        convs = (replace(c, precision=higher, reason=reason) if c.name in names else c for c in self.convs)
        return replace(self, convs=tuple(convs))

    def summary(self) -> str:
        """Return one line, such as ``FP16, 3 of 48 convolutions in FP32``."""
        count = len(self.convs)
        if self.precision == "int8":
            share = f"{self.share('int8'):.0%} of the multiplies"
            return f"INT8: {len(self.quantized)} of {count} convolutions, {share}; the rest in FP16"
        in_fp32 = count - len(self.in_own_precision)
        return f"{self.precision.upper()}, {in_fp32 or 'none'} of {count} convolutions in FP32"

    def require_not_empty(self) -> None:
        """Refuse a plan without a convolution in the requested precision.

        Raises:
            CheckFailed: there is none.
        """
        if not self.in_own_precision:
            problem = f"no convolution can be {self.precision} within the error budget"
            higher = HIGHER[self.precision]
            advice = f"use --precision {higher}; or calibrate with crops like the training images (--calibration)"
            raise CheckFailed(problem, self.search[-1], advice)

    def as_json(self) -> dict[str, Any]:
        """Return plain data for ``read_plan``."""
        return asdict(self)


def read_plan(path: Path, architecture: Architecture) -> PrecisionPlan:
    """Read a plan of an earlier run, perhaps edited.

    An edit may move convolutions to the higher precision, and change the equalization of an INT8 convolution. It may
    not quantize a convolution against the rule, and a segment is in FP32 completely or not at all.

    Raises:
        BadInput: not a plan, another schema version, another network, unknown calibration images, a scale that FP16
            cannot hold, or a convolution in a precision that it cannot have.
    """
    plan = read_record(path, PrecisionPlan, READABLE, "precision plan", ADVICE)
    if plan.precision not in HIGHER:
        raise BadInput(f"{path} is no precision plan", f"precision: {plan.precision}", ADVICE)
    rule = {conv.name: conv for conv in place(architecture, plan.precision)}
    _require_network(plan, architecture, rule, path)
    _require_calibration(plan.calibration, path)
    plan = replace(plan, convs=tuple(_checked(conv, rule[conv.name], plan.precision, path) for conv in plan.convs))
    split = [c.name for c in plan.convs if segment_of(c.name) in plan.in_fp32 and c.precision != "fp32"]
    if split:
        advice = "set all convolutions of a block to fp32, or none"
        raise BadInput(f"{path} has only a part of a block in FP32", f"not in FP32: {', '.join(split)}", advice)
    return plan


def accept_plan(plan: PrecisionPlan, weights_sha256: str) -> PrecisionPlan:
    """Return a user's plan for these weights, without its measurements.

    Raises:
        BadInput: the plan is for other weights, or has no convolution in its precision.
    """
    if plan.weights_sha256 != weights_sha256:
        hashes = f"made for {_short(plan.weights_sha256)}, these are {_short(weights_sha256)}"
        raise BadInput("the precision plan is for other weights", hashes, ADVICE)
    if not plan.in_own_precision:
        advice = f"set some convolutions to {plan.precision}, or leave {plan.precision} out of --precision"
        raise BadInput("the precision plan is empty", f"no convolution in {plan.precision}", advice)
    convs = tuple(replace(conv, error_alone_mm=None) for conv in plan.convs)
    return replace(plan, convs=convs, aim=None, mean_mm=None, p99_mm=None, search=(FROM_FILE,), search_seconds=None)


def _require_network(plan: PrecisionPlan, architecture: Architecture, rule: dict[str, PlannedConv], path: Path) -> None:
    expected, planned = asdict(architecture), asdict(plan.architecture)
    differences = [f"{key} {planned[key]}, here {value}" for key, value in expected.items() if planned[key] != value]
    convs = [(conv.name, conv.kind) for conv in plan.convs]
    expected_convs = [(conv.name, conv.kind) for conv in rule.values()]
    if not differences and convs != expected_convs:
        names = sorted({name for name, _ in {*convs} ^ {*expected_convs}}) or ["twice, or in another order"]
        differences = [f"convolutions: {', '.join(names[:4])}"]
    if differences:
        raise BadInput(f"{path} is for another network", "; ".join(differences), ADVICE)


def _require_calibration(calibration: ImagesRecord, path: Path) -> None:
    """Refuse a plan without its images' hashes: parity could then use the same images unnoticed."""
    images = calibration.images
    consistent = (calibration.count, calibration.sha256) == (len(images), set_sha256(images))
    if not consistent or len(set(images)) < FEWEST_IMAGES:
        counts = f"{len(images)} hashes for {calibration.count} images"
        counts += "" if consistent else ", not those of the set"
        raise BadInput(f"{path} does not list its calibration images", counts, ADVICE)


def _checked(conv: PlannedConv, rule: PlannedConv, precision: str, path: Path) -> PlannedConv:
    """Return a row with the rule's multiplies and a true reason."""
    conv = replace(conv, macs=rule.macs)
    if precision == "int8" and conv.precision == "int8" and rule.precision != "int8":
        advice = f"set it to fp16; {rule.reason}"
        raise BadInput(f"{path} quantizes a convolution that cannot be INT8", f"{conv.name} ({conv.kind})", advice)
    allowed = (precision, HIGHER[precision])
    if conv.precision not in allowed:
        problem = f"{path} has a convolution in an impossible precision"
        raise BadInput(problem, f"{conv.name}: {conv.precision}", f"choose {' or '.join(allowed)}")
    needed = conv.precision == "int8" or conv.equalization is not None
    if needed and not (conv.equalization is not None and 0 <= conv.equalization <= 1):
        raise BadInput(f"{path} has no usable equalization", f"{conv.name}: {conv.equalization}", "choose 0 to 1")
    if conv.precision != "int8":
        edited = conv.precision != rule.precision and conv.reason == rule.reason
        return replace(conv, reason=BY_HAND) if edited else conv
    scale = conv.input_scale
    if scale is None or not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
        values = f"{conv.name}: {scale}; FP16 holds {SMALLEST_SCALE:.3g} to {LARGEST_SCALE:g}"
        raise BadInput(f"{path} has no usable scale", values, ADVICE)
    return replace(conv, reason=rule.reason, input_scale=stored_scale(scale))


def _short(sha256: str | None) -> str:
    return f"sha256 {sha256[:12]}…" if sha256 else "no checkpoint"
