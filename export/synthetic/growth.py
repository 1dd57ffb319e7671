"""Choice of the demo checkpoint that a model is grown from, without loading torch (``grown`` does the work)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from export.common.files import PROJECT
from export.model.architecture import Architecture
from export.model.config import ModelConfig, load_config

MINIMA = ("depths", "dims", "head_channels", "depth_dim", "upsamplings")
"""Fields that may become larger."""
FIXED = ("head_kernels", "joints", "input_size")
"""Fields that must stay the same."""


def growth_obstacle(source: Architecture, target: Architecture) -> str | None:
    """Return why ``target`` cannot be grown from ``source``, or None if it can.

    Channels, blocks, depth bins and upsamplings may become more, never fewer. Joints, head kernels and the input
    size must be equal.

    >>> from dataclasses import replace
    >>> from export.model.config import load_config
    >>> small = load_config("XS-atto").architecture
    >>> growth_obstacle(small, load_config("L").architecture)
    >>> growth_obstacle(small, replace(small, joints=21))
    'joints must be 18, not 21'
    """
    for field in FIXED:
        before, after = getattr(source, field), getattr(target, field)
        if before != after:
            return f"{field} must be {before}, not {after}"
    for field in MINIMA:
        before, after = getattr(source, field), getattr(target, field)
        pairs = zip(before, after, strict=True) if isinstance(before, tuple) else [(before, after)]
        if any(large < small for small, large in pairs):
            return f"{field} must be at least {before}, not {after}"
    return None


@dataclass(frozen=True)
class Growth:
    """A demo checkpoint that a model without a checkpoint is grown from."""

    model: str
    """The declared model of the checkpoint."""
    path: str
    """The checkpoint's path in the project's repository."""
    checkpoint: Path
    head: Path | None
    """Head tensors that replace the checkpoint's, trained for one more upsampling."""
    source: Architecture
    """Architecture of checkpoint and head together."""


def plan_growth(config: ModelConfig, overrides: Mapping[str, int]) -> Growth | None:
    """Return the source of a grown model; None if none is declared, its file is missing, or it cannot be grown."""
    if config.grown_from is None:
        return None
    model = load_config(config.grown_from)
    project, source = PROJECT, model.architecture
    if model.demo is None or not (project / model.demo).is_file():
        return None
    declared, head = config.model_copy(update=dict(overrides)), None
    if declared.upsampling_count is None or growth_obstacle(source, declared.architecture) is not None:
        return None
    count = declared.upsampling_count
    if model.demo_head and count == source.upsamplings + 1 and (project / model.demo_head).is_file():
        head, source = project / model.demo_head, replace(source, upsamplings=count)
    return Growth(model.name, model.demo, project / model.demo, head, source)
