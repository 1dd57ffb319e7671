"""Records of a checkpoint, as manifests and ``inspect --json`` hold them.

This module imports no torch, so that an export that is up to date stays fast.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from export.common.records import Record
from export.model.architecture import Architecture
from export.model.config import Alternative, ModelConfig

Outcome = Literal["agrees", "contradicted", "inconclusive"]
Source = Literal["weights", "configuration", "rule", "command line"]
BY_RULE = "rule"
"""Declared value of a field that a configuration leaves to a rule."""


@dataclass(frozen=True)
class Finding:
    """One claim and its outcome."""

    model: str
    source: str
    words: str
    field: str
    claimed: Any
    outcome: Outcome
    by: str
    """The evidence for the outcome, or the reason why there is none."""


class ArchitectureRecord(Record):
    """The architecture in use."""

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    head_channels: tuple[int, ...]
    head_kernels: tuple[int, ...]
    joints: int
    depth_dim: int
    upsamplings: int
    input_size: int
    heatmap_size: int

    def as_architecture(self) -> Architecture:
        """Return the architecture that the record describes."""
        return Architecture(**self.model_dump(exclude={"heatmap_size"}))


class VerdictRow(Record):
    """One field of the architecture: the declared, the detected and the used value."""

    field: str
    declared: Any
    detected: Any = Field(alias="found")
    """The value that the weights show; None where they do not show it, or there are none."""
    used: Any
    source: Source
    reason: str = Field(alias="why")
    """The tensor, rule or option that gave the value."""
    agrees: bool
    """True if the used value is the declared one."""


class NearestModel(Record):
    """A declared model that differs in the fewest fields."""

    model: str
    differs_in: tuple[str, ...]


class Counts(Record):
    """Exact counts; multiply-accumulates are for one image, without the decode."""

    parameters: int
    state_elements: int
    macs: int


class CheckpointRecord(Record):
    """The verdict on a checkpoint, its container, and its claims."""

    architecture: ArchitectureRecord
    verdict: tuple[VerdictRow, ...]
    counts: Counts
    nearest_models: tuple[NearestModel, ...]
    location: str | None
    """Key of the file's dictionary that holds the weights."""
    container: str | None
    epoch: int | None
    dtypes: tuple[str, ...]
    claims: tuple[Finding, ...]
    """Published claims about the declared model, compared with the checkpoint."""
    other_networks: tuple[str, ...] = ()
    """Keys of other networks in the file."""


def equal_models(nearest: Sequence[NearestModel]) -> set[str]:
    """Return the declared models without a difference."""
    return {near.model for near in nearest if not near.differs_in}


def used_alternative(config: ModelConfig, nearest: Sequence[NearestModel]) -> Alternative | None:
    """Return the published alternative of a model if the weights are of that one; None if they are not."""
    alternative = config.alternative
    return alternative if alternative and alternative.model in equal_models(nearest) else None
