"""All that can be said of one checkpoint, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from export.checkpoint.claims import audit_by_file
from export.checkpoint.evidence import floating_dtypes
from export.checkpoint.loading import Checkpoint, read_checkpoint
from export.checkpoint.verdict import judge, nearest_models
from export.common.progress import Progress, no_progress
from export.model.architecture import Architecture
from export.model.config import declared_models, load_config

SCHEMA_VERSION = "1.0"
FALLBACK_MODEL = "L"


def inspect_checkpoint(
    path: Path,
    model: str | None,
    overrides: Mapping[str, int],
    images: Path | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Return container, verdict, counts and audited claims; with images, their mismatch and upsampling count.

    Without ``model`` the file is compared with the declared model whose released file has this name,
    otherwise with the nearest one.

    Raises:
        BadInput: the file cannot be read, is another network, or contradicts itself; too few images can be read.
    """
    checkpoint = read_checkpoint(path)
    chosen_by = "asked for"
    if model is None:
        model, chosen_by = model_by_name(path), "by its file name"
    if model is None:
        architecture = judge(load_config(FALLBACK_MODEL), checkpoint, overrides).architecture
        model, chosen_by = nearest_models(architecture)[0].model, "the nearest by shape"
    config = load_config(model)
    verdict = judge(config, checkpoint, overrides)
    seen = {
        "schema_version": SCHEMA_VERSION,
        "path": str(path),
        "sha256": checkpoint.sha256,
        "container": checkpoint.container,
        "location": checkpoint.location or None,
        "epoch": checkpoint.epoch,
        "dtypes": floating_dtypes(checkpoint),
        "model": config.name,
        "chosen_by": chosen_by,
        **verdict.as_json(),
        "claims": [asdict(finding) for finding in audit_by_file(config, verdict)],
    }
    if images is not None:
        seen["image_statistics"] = _image_statistics(images, checkpoint, verdict.architecture, progress)
        seen["upsamplings_from_images"] = _from_images(images, checkpoint, verdict.architecture, progress)
    return seen


def _image_statistics(
    folder: Path, checkpoint: Checkpoint, architecture: Architecture, progress: Progress
) -> dict[str, Any]:
    """Compare the folder's crops with the checkpoint's BatchNorm statistics."""
    from export.checkpoint.upsampling.evidence import FEWEST_IMAGES
    from export.images.image_folder import read_crops
    from export.images.norm_statistics import ENOUGH_IMAGES, measure_images
    from export.model.network import build_network

    crops = read_crops(folder, architecture.input_size, FEWEST_IMAGES, ENOUGH_IMAGES)
    network = build_network(architecture, checkpoint.tensors)
    return {"folder": str(folder), **measure_images(network, crops.images, progress).as_json()}


def _from_images(
    folder: Path, checkpoint: Checkpoint, architecture: Architecture, progress: Progress
) -> dict[str, Any]:
    from export.checkpoint.upsampling.evidence import FEWEST_IMAGES, MOST_IMAGES, upsampling_evidence
    from export.images.image_folder import read_crops

    crops = read_crops(folder, architecture.input_size, FEWEST_IMAGES, MOST_IMAGES)
    evidence = upsampling_evidence(architecture, checkpoint.tensors, crops.images, progress=progress)
    used = architecture.upsamplings
    return {
        "folder": str(folder),
        "found": crops.files,
        "unreadable": list(crops.unreadable),
        "made_square": crops.made_square,
        **evidence.as_json(),
        "used": used,
        "agrees": None if evidence.decided is None else evidence.decided == used,
    }


def model_by_name(path: Path) -> str | None:
    """The declared model whose released file or folder is called like ``path``."""
    for name in reversed(declared_models()):  # XS before XS-atto: both expect the same file
        if path.name in {spelling for file in load_config(name).files for spelling in (file, Path(file).stem)}:
            return name
    return None
