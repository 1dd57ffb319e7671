"""Declared, found, used: every architecture field with the source of its value.

Weights win over the declaration wherever they speak. What they cannot tell comes, in this order, from
the command line, from an explicit declaration, and from a rule.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from export.checkpoint.evidence import Evidence, FieldName, contradiction, read_evidence
from export.checkpoint.loading import Checkpoint
from export.common.errors import BadInput
from export.model.architecture import Architecture, cubic_upsamplings
from export.model.config import ModelConfig, declared_models, load_config
from export.model.joint_sets import JOINT_SETS

Source = Literal["weights", "configuration", "rule", "command line"]

MAX_VOLUME_ELEMENTS = 1 << 27
"""Twenty-eight times the volume of L; half a gigabyte of logits an image."""

KNOWN_JOINTS = tuple(len(joint_set.joints) for joint_set in JOINT_SETS)

SHAPE_FIELDS: tuple[FieldName, ...] = ("depths", "dims", "head_channels", "head_kernels")


@dataclass(frozen=True)
class Row:
    """One field of the verdict."""

    field: str
    declared: Any
    found: Any
    """What the weights show; None where they cannot show it or there are none."""
    used: Any
    source: Source
    why: str
    """The tensor, rule or option that gave the value."""

    @property
    def agrees(self) -> bool:
        """Whether the value used is the declared one."""
        return bool(self.used == self.declared)


@dataclass(frozen=True)
class Nearest:
    """One of the declared models that differ in the fewest fields, and those fields."""

    model: str
    differs_in: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What the network is, and how each field is known."""

    model: str
    architecture: Architecture
    rows: tuple[Row, ...]
    nearest: tuple[Nearest, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data: architecture, rows, exact counts and the nearest declared models."""
        network = self.architecture
        return {
            "architecture": asdict(network) | {"heatmap_size": network.heatmap_size},
            "verdict": [asdict(row) | {"agrees": row.agrees} for row in self.rows],
            "counts": {
                "parameters": network.parameters,
                "state_elements": network.state_elements,
                "macs": network.macs,
            },
            "nearest_models": [asdict(near) for near in self.nearest],
        }


def judge(config: ModelConfig, checkpoint: Checkpoint | None, overrides: Mapping[str, int] | None = None) -> Verdict:
    """Decide every field from the weights, the command line, the declaration and the rules.

    Without a checkpoint the declaration is used as it is, but for the overrides.

    Raises:
        BadInput: the weights contradict themselves, or an override contradicts the weights.
    """
    overrides = overrides or {}
    declared = config.architecture
    evidence = read_evidence(checkpoint) if checkpoint is not None else None
    if checkpoint is not None and evidence is not None and evidence.problems:
        raise contradiction(checkpoint, evidence.problems)
    rows = [_shape_row(field, config, declared, evidence) for field in SHAPE_FIELDS]
    if evidence is None:
        rows += [_asked_row(field, config, declared, overrides) for field in ("joints", "depth_dim")]
    else:
        joints, depth_dim, source, why = _factor_volume(config, declared, evidence, overrides)
        for field, value in (("joints", joints), ("depth_dim", depth_dim)):
            found = value if source == "weights" else None
            rows.append(Row(field, getattr(declared, field), found, value, source, why))
    rows.append(_upsampling_row(config, declared, rows[-1].used, overrides))
    rows.append(_asked_row("input_size", config, declared, overrides))
    architecture = Architecture(**{row.field: row.used for row in rows})
    _refuse_impossible_sizes(architecture)
    return Verdict(config.name, architecture, tuple(rows), nearest_models(architecture))


def _refuse_impossible_sizes(architecture: Architecture) -> None:
    if architecture.input_size % 64:
        raise BadInput("--set input_size is not possible", f"{architecture.input_size}", "give a multiple of 64")
    elements = architecture.volume_channels * architecture.heatmap_size**2
    if elements > MAX_VOLUME_ELEMENTS:
        edge = architecture.heatmap_size
        seen = f"{architecture.volume_channels} channels on a map of {edge}×{edge}"
        raise BadInput("the volume is too large", seen, "give fewer joints, depth bins or upsamplings")


def nearest_models(architecture: Architecture) -> tuple[Nearest, ...]:
    """The declared models nearest to ``architecture``."""
    fields = (*SHAPE_FIELDS, "joints", "depth_dim", "upsamplings")
    all_of_them = []
    for name in declared_models():
        declared = load_config(name).architecture
        differing = tuple(f for f in fields if getattr(declared, f) != getattr(architecture, f))
        all_of_them.append(Nearest(name, differing))
    fewest = min(len(near.differs_in) for near in all_of_them)
    return tuple(near for near in all_of_them if len(near.differs_in) == fewest)


def _shape_row(field: FieldName, config: ModelConfig, declared: Architecture, evidence: Evidence | None) -> Row:
    value = getattr(declared, field)
    if evidence is None:
        return Row(field, value, None, value, "configuration", f"configuration {config.name}")
    found = getattr(evidence, field)
    return Row(field, value, found, found, "weights", evidence.read_from[field])


Factors = tuple[int, int, Source, str]
"""(joints, depth_dim, source, why): the two factors of the final layer's channels."""


def _asked_row(field: str, config: ModelConfig, declared: Architecture, overrides: Mapping[str, int]) -> Row:
    """A field that weights do not show, or that there are no weights for."""
    value = getattr(declared, field)
    if field in overrides:
        return Row(field, value, None, overrides[field], "command line", f"--set {field}={overrides[field]}")
    return Row(field, value, None, value, "configuration", f"configuration {config.name}")


def _factor_volume(
    config: ModelConfig, declared: Architecture, evidence: Evidence, overrides: Mapping[str, int]
) -> Factors:
    asked = {field: overrides[field] for field in ("joints", "depth_dim") if field in overrides}
    option = ", ".join(f"--set {field}={value}" for field, value in asked.items())
    if asked:
        return _factor_as_asked(evidence, asked.get("joints"), asked.get("depth_dim"), option)
    return _factor_by_joint_set(config, declared, evidence)


def _factor_as_asked(evidence: Evidence, joints: int | None, depth_dim: int | None, option: str) -> Factors:
    """One factor or both from the command line; their product stands in the weights."""
    channels, where = evidence.volume_channels, evidence.read_from["volume_channels"]
    given = (joints or 1) * (depth_dim or 1)
    if channels % given or (joints and depth_dim and given != channels):
        do = f"give joints and depth_dim whose product is {channels}"
        raise BadInput(f"{option} contradicts the weights", f"{where} has {channels} channels", do)
    derived = channels // (joints or depth_dim or 1)
    if joints is None and derived not in KNOWN_JOINTS:  # the note's "always 64" would make 9 joints of 576 channels
        raise BadInput(
            f"{option} would mean {derived} joints, which is no known joint set",
            f"{where}; known are {', '.join(map(str, KNOWN_JOINTS))}",
            f"leave it out, or give --set joints={derived} too if you mean it",
        )
    return joints or derived, depth_dim or derived, "command line", f"{option}; {where}"


def _factor_by_joint_set(config: ModelConfig, declared: Architecture, evidence: Evidence) -> Factors:
    """The known joint set that divides the channels; of two, the one whose volume can be a cube.

    A set of joints that nobody but the user's configuration knows is used if it divides the channels as declared.
    """
    channels, where = evidence.volume_channels, evidence.read_from["volume_channels"]
    if declared.joints not in KNOWN_JOINTS and declared.volume_channels == channels:
        why = f"{where} = {declared.joints} × {declared.depth_dim} as configuration {config.name} declares"
        return declared.joints, declared.depth_dim, "configuration", why
    fitting = [count for count in KNOWN_JOINTS if channels % count == 0]
    cubic = [count for count in fitting if cubic_upsamplings(channels // count, declared.input_size) is not None]
    candidates = cubic or fitting
    if len(candidates) == 1:
        joints, depth_dim = candidates[0], channels // candidates[0]
        return joints, depth_dim, "weights", f"{where} = {joints} × {depth_dim}; {joints} is a known joint set"
    if not candidates and declared.joints not in KNOWN_JOINTS and channels % declared.joints == 0:
        why = f"{where}; {declared.joints} joints declared by configuration {config.name}"
        return declared.joints, channels // declared.joints, "configuration", why
    seen = f"none of the known joint sets ({', '.join(map(str, KNOWN_JOINTS))}) divides {channels}"
    if candidates:
        seen = f"{' and '.join(map(str, candidates))} joints both divide {channels}"
    raise BadInput(
        "the final layer does not say how many joints it has", f"{where}: {seen}", "say it with --set joints=N"
    )


def _upsampling_row(config: ModelConfig, declared: Architecture, depth_dim: int, overrides: Mapping[str, int]) -> Row:
    """The count leaves no trace in weights, so ``found`` is always None.

    The cube is that of the declared input size, at which the network was trained: to feed it larger crops does not
    change how often its head doubles the map.
    """
    input_size = declared.input_size
    source: Source
    if "upsamplings" in overrides:
        used, source, why = overrides["upsamplings"], "command line", f"--set upsamplings={overrides['upsamplings']}"
    elif config.upsamplings is not None:
        used, source, why = config.upsamplings, "configuration", f"configuration {config.name} declares it"
    else:
        cubic = cubic_upsamplings(depth_dim, input_size)
        if cubic is None:
            raise BadInput(
                "the upsampling count is unknown",
                f"no count makes a cube of depth_dim {depth_dim} at input size {input_size}",
                "say it with --set upsamplings=N",
            )
        used, source, why = cubic, "rule", f"the volume is a cube: depth_dim {depth_dim}, map {depth_dim}×{depth_dim}"
    return Row("upsamplings", declared.upsamplings, None, used, source, why)
