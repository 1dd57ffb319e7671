"""Inspection of one checkpoint: ``convnextpose inspect``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.checkpoint.claims import audit_by_file
from export.checkpoint.evidence import floating_dtypes
from export.checkpoint.loading import Checkpoint, read_checkpoint
from export.checkpoint.records import (
    ArchitectureRecord,
    CheckpointRecord,
    Counts,
    Finding,
    equal_models,
    used_alternative,
)
from export.checkpoint.released_files import models_named
from export.checkpoint.verdict import Verdict, judge, nearest_models, other_counts
from export.common.progress import Progress, no_progress
from export.model.config import Alternative, load_config

if TYPE_CHECKING:
    from export.checkpoint.upsampling.evidence import UpsamplingEvidence
    from export.images.image_set import Crops
    from export.images.norm_statistics import ImageStatistics

SCHEMA_VERSION = "1.0"
FALLBACK_MODEL = "L"
NEAREST = "the nearest by shape"
"""Reason for a model that neither the user nor the file's name declares."""


@dataclass(frozen=True)
class ImageInspection:
    """Comparison of a checkpoint with images of the kind that it was trained on."""

    folder: Path
    crops: "Crops"
    statistics: "ImageStatistics"
    upsamplings: "UpsamplingEvidence"
    used: int
    """The upsampling count of the verdict."""

    @property
    def agrees(self) -> bool | None:
        """True if the images show the count in use; None if they show none."""
        return None if self.upsamplings.decided is None else self.upsamplings.decided == self.used

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "image_statistics": {"folder": str(self.folder), **self.statistics.as_json()},
            "upsamplings_from_images": {
                "folder": str(self.folder),
                "found": self.crops.files,
                "unreadable": list(self.crops.unreadable),
                "made_square": self.crops.made_square,
                **self.upsamplings.as_json(),
                "used": self.used,
                "agrees": self.agrees,
            },
        }


@dataclass(frozen=True)
class Inspection:
    """A checkpoint, the verdict on it, and its comparison with images."""

    checkpoint: Checkpoint
    model: str
    """The declared model that it is compared with."""
    chosen_by: str
    """Reason for that model."""
    alternative: Alternative | None
    """The published alternative of that model, if the checkpoint is of that one."""
    record: CheckpointRecord
    images: ImageInspection | None

    @property
    def other_counts(self) -> dict[int, tuple[str, ...]]:
        """Upsampling counts that fit as well as the one in use; empty if something decides the count."""
        row = next(row for row in self.record.verdict if row.field == "upsamplings")
        decided = self.images is not None and self.images.agrees is not None
        if self.chosen_by != NEAREST or row.source != "rule" or decided:
            return {}
        return other_counts(self.record.architecture.as_architecture())

    def as_json(self) -> dict[str, Any]:
        """Return plain data; without images it has no keys for them."""
        return {
            "schema_version": SCHEMA_VERSION,
            "path": str(self.checkpoint.path),
            "sha256": self.checkpoint.sha256,
            "model": self.model,
            "chosen_by": self.chosen_by,
            **self.record.model_dump(mode="json"),
            **(self.images.as_json() if self.images else {}),
        }


def inspect_checkpoint(
    path: Path,
    model: str | None,
    overrides: Mapping[str, int],
    images: Path | None = None,
    progress: Progress = no_progress,
    weights_key: str | None = None,
    names: Sequence[str] | None = None,
) -> Inspection:
    """Compare a checkpoint with a declared model, and with a folder of images.

    Without ``model`` it is the declared model whose released file has this name, otherwise the nearest one. Of several
    with this name it is the one whose content this is. With ``names``, the content decides first, and the names only
    between models that it equals.

    Raises:
        BadInput: the file cannot be read, is another network, or contradicts itself; too few images can be read.
    """
    checkpoint = read_checkpoint(path, weights_key)
    chosen_by = "asked for"
    if model is None:
        models = models_named([path.name] if names is None else names)
        nearest = nearest_models(judge(load_config(FALLBACK_MODEL), checkpoint, overrides).architecture)
        equal = equal_models(nearest)
        fitting = [name for name in models if equal & load_config(name).accepted_models]
        by_name = fitting or (models if names is None or not equal else [])
        model, chosen_by = (by_name[0], "by its file name") if by_name else (nearest[0].model, NEAREST)
    config = load_config(model)
    verdict = judge(config, checkpoint, overrides)
    record = checkpoint_record(verdict, checkpoint, audit_by_file(config, verdict))
    compared = None if images is None else _compare_images(images, checkpoint, verdict, progress)
    alternative = used_alternative(config, verdict.nearest)
    return Inspection(checkpoint, config.name, chosen_by, alternative, record, compared)


def checkpoint_record(verdict: Verdict, file: Checkpoint | None, claims: Sequence[Finding]) -> CheckpointRecord:
    """Return the record of a verdict and of the file that holds the weights; None if weights are random."""
    network = verdict.architecture
    return CheckpointRecord(
        architecture=ArchitectureRecord(**asdict(network), heatmap_size=network.heatmap_size),
        verdict=verdict.rows,
        counts=Counts(parameters=network.parameters, state_elements=network.state_elements, macs=network.macs),
        nearest_models=verdict.nearest,
        location=file.location or None if file else None,
        container=file.container if file else None,
        epoch=file.epoch if file else None,
        other_networks=file.other_networks if file else (),
        dtypes=floating_dtypes(file) if file else ("float32",),
        claims=tuple(claims),
    )


def _compare_images(folder: Path, checkpoint: Checkpoint, verdict: Verdict, progress: Progress) -> ImageInspection:
    """Compare the folder's crops with the BatchNorm statistics, and find the upsampling count from them."""
    from export.checkpoint.upsampling.evidence import FEWEST_IMAGES, MOST_IMAGES, upsampling_evidence
    from export.images.image_set import read_crops
    from export.images.norm_statistics import ENOUGH_IMAGES, measure_images
    from export.model.network import build_network

    architecture = verdict.architecture
    network = build_network(architecture, checkpoint.tensors)
    crops = read_crops(folder, architecture.input_size, FEWEST_IMAGES, ENOUGH_IMAGES)
    statistics = measure_images(network, crops.images, progress)
    crops = read_crops(folder, architecture.input_size, FEWEST_IMAGES, MOST_IMAGES)
    upsamplings = upsampling_evidence(architecture, checkpoint.tensors, crops.images, progress=progress)
    return ImageInspection(folder, crops, statistics, upsamplings, architecture.upsamplings)
