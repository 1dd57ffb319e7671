"""Which convolutions compute in int8, with which scales, for which weights, and from which images."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from export.architecture import Architecture
from export.calibration import NEEDED_IMAGES
from export.errors import BadInput
from export.image_set import ImagesRecord, set_sha256
from export.int8_placement import LeftAlone, PlacedConv, left_alone, place
from export.network import ConvNeXtPose
from export.scales import LARGEST_SCALE, SMALLEST_SCALE, stored_scale

SCHEMA_VERSION = "2.0"
KEPT = "kept out by the search: "
BY_HAND = "kept out by the plan that was given"
GIVEN = "taken from a file: what was measured is of the export that made it"
DO = "take int8-plan.json of an earlier export of the same checkpoint, or leave --int8-plan out"


@dataclass(frozen=True)
class Int8Plan:
    """Every convolution, in the order of the data; what is no convolution; and what the scales were taken from."""

    architecture: Architecture
    convs: tuple[PlacedConv, ...]
    left_alone: tuple[LeftAlone, ...]
    calibration: ImagesRecord
    weights_sha256: str | None = None
    """Of the canonical weights' file; None where there was none, and such a plan cannot be given back."""
    drift_mm: float | None = None
    """Mean drift of the simulated network on the calibration images; None if this plan was not measured."""
    search: tuple[str, ...] = ()
    """What the search did, a line a step."""
    sensitivity_seconds: float | None = None
    """What it took to quantise each convolution alone; None if that was not done."""
    search_seconds: float | None = None
    """What the greedy search took after that."""
    schema_version: str = SCHEMA_VERSION

    @property
    def quantised(self) -> tuple[PlacedConv, ...]:
        """The convolutions in int8."""
        return tuple(conv for conv in self.convs if conv.quantised)

    def keeping(self, names: Iterable[str], reason: str) -> "Int8Plan":
        """The same plan with these convolutions in higher precision."""
        out = set(names)
        convs = [replace(c, quantised=False, reason=KEPT + reason) if c.name in out else c for c in self.convs]
        return replace(self, convs=tuple(convs))

    def as_json(self) -> dict[str, Any]:
        """Plain data; ``read_plan`` reads it."""
        return asdict(self)


def read_plan(path: Path, network: ConvNeXtPose) -> Int8Plan:
    """A plan that an earlier run wrote, perhaps edited: scales as FP16 stores them, reasons as they are true.

    An edit may take convolutions out of int8, and change scales. It may not put in what the placement leaves out.

    Raises:
        BadInput: not a plan, of another schema version, for another network, of unknown calibration images, with a
            scale that FP16 cannot hold, or with a convolution in int8 that must stay out.
    """
    try:
        found = from_json(path.read_bytes())
        version = found.get("schema_version") if isinstance(found, dict) else "none"
        if version != SCHEMA_VERSION:
            raise BadInput(f"{path} is no int8 plan of schema {SCHEMA_VERSION}", f"schema_version {version}", DO)
        plan = TypeAdapter(Int8Plan).validate_python(found)
    except OSError as error:
        raise BadInput(f"cannot read the int8 plan {path}", error.strerror or str(error), DO) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        seen = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
        raise BadInput(f"{path} is no int8 plan", seen, DO) from error
    except ValueError as error:
        raise BadInput(f"{path} is no int8 plan", f"no JSON: {error}", DO) from error
    rule = {conv.name: conv for conv in place(network)}
    _require_network(plan, network.architecture, rule, path)
    _require_calibration(plan.calibration, path)
    convs = tuple(_placed(conv, rule[conv.name], path) for conv in plan.convs)
    return replace(plan, convs=convs, left_alone=left_alone(network.architecture))


def give_back(plan: Int8Plan, weights_sha256: str) -> Int8Plan:
    """A plan that the user named, for these weights; what was measured of it does not hold after an edit.

    Raises:
        BadInput: its scales and sensitivities are those of other weights.
    """
    if plan.weights_sha256 != weights_sha256:
        seen = f"made for {_short(plan.weights_sha256)}, these are {_short(weights_sha256)}"
        raise BadInput("the int8 plan is for other weights", seen, DO)
    search = plan.search if GIVEN in plan.search else (*plan.search, GIVEN)
    return replace(plan, drift_mm=None, search=search, sensitivity_seconds=None, search_seconds=None)


def _require_network(plan: Int8Plan, here: Architecture, rule: dict[str, PlacedConv], path: Path) -> None:
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
    """Without the images' own hashes nobody can see that parity is judged on others."""
    images = calibration.images
    known = (calibration.count, calibration.sha256) == (len(images), set_sha256(images))
    if not known or len(set(images)) < NEEDED_IMAGES:
        seen = f"{len(images)} hashes for {calibration.count} images" + ("" if known else ", not those of the set")
        raise BadInput(f"{path} does not tell which images it was calibrated on", seen, DO)


def _placed(conv: PlacedConv, rule: PlacedConv, path: Path) -> PlacedConv:
    if conv.quantised and not rule.quantised:
        do = f"set it to be left out; TensorRT or the joints would suffer: {rule.reason}"
        raise BadInput(f"{path} quantises what stays out of int8", f"{conv.name} ({conv.kind})", do)
    if not conv.quantised:
        stale = rule.quantised and conv.reason == rule.reason
        return replace(conv, reason=BY_HAND) if stale else conv
    scale = conv.activation_scale
    if scale is None or not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
        seen = f"{conv.name}: {scale}; FP16 holds {SMALLEST_SCALE:.3g} to {LARGEST_SCALE:g}"
        raise BadInput(f"{path} has no usable scale", seen, DO)
    return replace(conv, reason=rule.reason, activation_scale=stored_scale(scale))


def _short(sha256: str | None) -> str:
    return f"sha256 {sha256[:12]}…" if sha256 else "no checkpoint's"
