"""The verdict: every architecture field with its declared, detected and used value, and the source of the latter.

Weights take precedence over the declaration. Values that weights do not show come, in this order, from the command
line, from an explicit declaration, and from a rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from export.checkpoint.evidence import Contradiction, Evidence, FieldName, read_evidence
from export.checkpoint.loading import Checkpoint
from export.checkpoint.records import BY_RULE, NearestModel, Source, VerdictRow
from export.common.errors import BadInput
from export.model.architecture import Architecture, cubic_upsamplings
from export.model.config import ModelConfig, declared_models, load_config
from export.model.joint_sets import JOINT_SETS

MAX_VOLUME_ELEMENTS = 1 << 27
"""Limit of a volume: 28 times that of L, half a gigabyte of logits an image."""

KNOWN_JOINTS = tuple(len(joint_set.joints) for joint_set in JOINT_SETS)

SHAPE_FIELDS: tuple[FieldName, ...] = ("depths", "dims", "head_channels", "head_kernels")


@dataclass(frozen=True)
class Verdict:
    """An architecture, and the source of each field."""

    architecture: Architecture
    rows: tuple[VerdictRow, ...]
    nearest: tuple[NearestModel, ...]


def judge(config: ModelConfig, checkpoint: Checkpoint | None, overrides: Mapping[str, int] | None = None) -> Verdict:
    """Decide every field from the weights, the command line, the declaration and the rules.

    Without a checkpoint the declaration is used, except for the overrides. A checkpoint that equals the published
    alternative of the model is compared with the declaration of that one.

    Raises:
        BadInput: the weights contradict themselves, or an override contradicts the weights.
    """
    overrides = overrides or {}
    evidence = read_evidence(checkpoint) if checkpoint is not None else None
    if evidence is not None and config.alternative is not None:
        alternative = load_config(config.alternative.model)
        config = alternative if evidence.fits(alternative.architecture) else config
    declared = config.architecture
    if checkpoint is not None and evidence is not None and evidence.problems:
        raise Contradiction(checkpoint, evidence.problems)
    rows = [_shape_row(field, config, declared, evidence) for field in SHAPE_FIELDS]
    if evidence is None:
        rows += [_setting_row(field, config, declared, overrides) for field in ("joints", "depth_dim")]
    else:
        joints, depth_dim, source, reason = _factor_volume(config, declared, evidence, overrides)
        for field, value in (("joints", joints), ("depth_dim", depth_dim)):
            detected = value if source == "weights" else None
            rows.append(_row(field, getattr(declared, field), detected, value, source, reason))
    upsamplings = _upsampling_row(config, declared, rows[-1].used, overrides)
    rows.append(upsamplings if config.upsamplings is not None else _left_to_rule(upsamplings, config))
    rows.append(_setting_row("input_size", config, declared, overrides))
    architecture = Architecture(**{row.field: row.used for row in rows})
    _refuse_impossible_sizes(architecture)
    return Verdict(architecture, tuple(rows), nearest_models(architecture))


def _refuse_impossible_sizes(architecture: Architecture) -> None:
    if architecture.input_size % 64:
        raise BadInput("--set input_size is not possible", f"{architecture.input_size}", "give a multiple of 64")
    elements = architecture.volume_channels * architecture.heatmap_size**2
    if elements > MAX_VOLUME_ELEMENTS:
        edge = architecture.heatmap_size
        size = f"{architecture.volume_channels} channels on a map of {edge}×{edge}"
        raise BadInput("the volume is too large", size, "give fewer joints, depth bins or upsamplings")


def nearest_models(architecture: Architecture) -> tuple[NearestModel, ...]:
    """Return the declared models that differ in the fewest fields."""
    fields = (*SHAPE_FIELDS, "joints", "depth_dim", "upsamplings")
    models = []
    for name in declared_models():
        declared = load_config(name).architecture
        differing = tuple(f for f in fields if getattr(declared, f) != getattr(architecture, f))
        models.append(NearestModel(model=name, differs_in=differing))
    fewest = min(len(near.differs_in) for near in models)
    return tuple(near for near in models if len(near.differs_in) == fewest)


def other_counts(architecture: Architecture) -> dict[int, tuple[str, ...]]:
    """Return upsampling counts other than the one in use, and the declared models that may have them.

    These have the same layers, and a source claims this depth for them: the file may be theirs, and weights do not show
    the count.
    """
    counts: dict[int, tuple[str, ...]] = {}
    for name in declared_models():
        config = load_config(name)
        declared = config.architecture
        same_layers = all(getattr(declared, field) == getattr(architecture, field) for field in SHAPE_FIELDS)
        may_be = same_layers and architecture.depth_dim in {claim.depth_dim for claim in config.claims}
        if may_be and declared.upsamplings != architecture.upsamplings:
            counts[declared.upsamplings] = (*counts.get(declared.upsamplings, ()), name)
    return counts


def _row(field: str, declared: object, detected: object, used: object, source: Source, reason: str) -> VerdictRow:
    agrees = used == declared
    return VerdictRow(
        field=field, declared=declared, found=detected, used=used, source=source, why=reason, agrees=agrees
    )


def _shape_row(field: FieldName, config: ModelConfig, declared: Architecture, evidence: Evidence | None) -> VerdictRow:
    value = getattr(declared, field)
    if evidence is None:
        return _row(field, value, None, value, "configuration", f"configuration {config.name}")
    detected = getattr(evidence, field)
    return _row(field, value, detected, detected, "weights", evidence.read_from[field])


def _setting_row(field: str, config: ModelConfig, declared: Architecture, overrides: Mapping[str, int]) -> VerdictRow:
    """Return the row of a field that weights do not show, or that has no weights."""
    value = getattr(declared, field)
    if field in overrides:
        return _row(field, value, None, overrides[field], "command line", f"--set {field}={overrides[field]}")
    return _row(field, value, None, value, "configuration", f"configuration {config.name}")


def _left_to_rule(row: VerdictRow, config: ModelConfig) -> VerdictRow:
    """Return the row of an upsampling count that the configuration does not declare."""
    reason = row.reason if row.agrees else f"{row.reason}; declared {config.name} would have {row.declared}"
    return row.model_copy(update={"declared": BY_RULE, "reason": reason})


Factors = tuple[int, int, Source, str]
"""(joints, depth_dim, source, reason): the two factors of the final layer's channels."""


def _factor_volume(
    config: ModelConfig, declared: Architecture, evidence: Evidence, overrides: Mapping[str, int]
) -> Factors:
    settings = {field: overrides[field] for field in ("joints", "depth_dim") if field in overrides}
    if not settings:
        return _factor_by_joint_set(config, declared, evidence)
    option = ", ".join(f"--set {field}={value}" for field, value in settings.items())
    return _factor_by_option(evidence, settings.get("joints"), settings.get("depth_dim"), option)


def _factor_by_option(evidence: Evidence, joints: int | None, depth_dim: int | None, option: str) -> Factors:
    """Return the factors from one or both on the command line; weights show their product."""
    channels, where = evidence.volume_channels, evidence.read_from["volume_channels"]
    product = (joints or 1) * (depth_dim or 1)
    if channels % product or (joints and depth_dim and product != channels):
        advice = f"give joints and depth_dim with the product {channels}"
        raise BadInput(f"{option} contradicts the weights", f"{where} has {channels} channels", advice)
    derived = channels // (joints or depth_dim or 1)
    if joints is None and derived not in KNOWN_JOINTS:  # the note's "always 64" would make 9 joints of 576 channels
        raise BadInput(
            f"{option} would mean {derived} joints, which is no known joint set",
            f"{where}; known are {', '.join(map(str, KNOWN_JOINTS))}",
            f"leave it out, or give --set joints={derived} too if you mean it",
        )
    return joints or derived, depth_dim or derived, "command line", f"{option}; {where}"


def _factor_by_joint_set(config: ModelConfig, declared: Architecture, evidence: Evidence) -> Factors:
    """Return the known joint set that divides the channels; of two, the one that gives a cubic volume.

    A joint set that only the user's configuration knows is used if it divides the channels as declared.
    """
    channels, where = evidence.volume_channels, evidence.read_from["volume_channels"]
    if declared.joints not in KNOWN_JOINTS and declared.volume_channels == channels:
        reason = f"{where} = {declared.joints} × {declared.depth_dim} as configuration {config.name} declares"
        return declared.joints, declared.depth_dim, "configuration", reason
    fitting = [count for count in KNOWN_JOINTS if channels % count == 0]
    cubic = [count for count in fitting if cubic_upsamplings(channels // count, declared.input_size) is not None]
    candidates = cubic or fitting
    if len(candidates) == 1:
        joints, depth_dim = candidates[0], channels // candidates[0]
        return joints, depth_dim, "weights", f"{where} = {joints} × {depth_dim}; {joints} is a known joint set"
    if not candidates and declared.joints not in KNOWN_JOINTS and channels % declared.joints == 0:
        reason = f"{where}; {declared.joints} joints declared by configuration {config.name}"
        return declared.joints, channels // declared.joints, "configuration", reason
    conflict = f"none of the known joint sets ({', '.join(map(str, KNOWN_JOINTS))}) divides {channels}"
    if candidates:
        conflict = f"{' and '.join(map(str, candidates))} joints both divide {channels}"
    problem = "the final layer does not say how many joints it has"
    raise BadInput(problem, f"{where}: {conflict}", "pass --set joints=N")


def _upsampling_row(
    config: ModelConfig, declared: Architecture, depth_dim: int, overrides: Mapping[str, int]
) -> VerdictRow:
    """Return the row of the upsampling count, which weights never show.

    The rule takes the declared input size, at which the network was trained: larger crops do not change how often its
    head doubles the map.
    """
    if "upsamplings" in overrides:
        return _setting_row("upsamplings", config, declared, overrides)
    if config.upsamplings is not None:
        used, reason = config.upsamplings, f"configuration {config.name} declares it"
        return _row("upsamplings", declared.upsamplings, None, used, "configuration", reason)
    cubic = cubic_upsamplings(depth_dim, declared.input_size)
    if cubic is None:
        raise BadInput(
            "the upsampling count is unknown",
            f"no count makes a cube of depth_dim {depth_dim} at input size {declared.input_size}",
            "pass --set upsamplings=N",
        )
    reason = f"the volume is a cube: depth_dim {depth_dim}, map {depth_dim}×{depth_dim}"
    return _row("upsamplings", declared.upsamplings, None, cubic, "rule", reason)
