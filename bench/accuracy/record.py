"""The result of an evaluation as plain data, with the published figures beside the measured ones."""

from collections.abc import Sequence
from typing import Any

from bench.accuracy.evaluation import EvaluatedModel, Run
from bench.accuracy.tally import ALIGNED_MM, DRIFT_MM, ERROR_MM, ERROR_PX
from bench.datasets.protocol import Dataset
from bench.machine.system import machine
from bench.sessions.exported import ExportFolder
from export.common.errors import CheckFailed
from export.common.plain import all_finite, finite_or_none
from export.model.config import declared_models, load_config
from export.pipeline.steps import sha256_code

SCHEMA_VERSION = "1.0"


def run_key(exported: ExportFolder, dataset: Dataset, models: Sequence[EvaluatedModel], flip: bool) -> dict[str, Any]:
    """Everything that an evaluation's result depends on."""
    return {
        "weights": exported.manifest.weights.sha256,
        "architecture": exported.manifest.architecture.model_dump(),
        "dataset": dataset.identity,
        "contenders": [[c.name, c.sha256, c.backend.describe()] for c in models],
        "flip": flip,
        "code": {package: sha256_code(package) for package in ("export", "bench")},
    }


def accuracy_record(
    exported: ExportFolder, dataset: Dataset, models: Sequence[EvaluatedModel], run: Run, *, flip: bool
) -> dict[str, Any]:
    """Every model's errors; what is not finite is null, and then ``finite`` is false."""
    return {
        "schema_version": SCHEMA_VERSION,
        "model": exported.manifest.model,
        "weights": exported.manifest.weights.model_dump(include={"origin", "path", "sha256"}),
        "dataset": {**dataset.identity, "name": dataset.name, "samples": len(dataset), "notes": list(dataset.notes)},
        "flip": flip,
        "joint_names": list(dataset.joint_set.joints),
        "counted_joints": [dataset.joint_set.joints[j] for j in dataset.counted],
        "published": published(exported.manifest.model, dataset),
        "contenders": [_row(model) for model in models],
        "machine": machine(),
        "seconds": run.seconds,
        "samples_per_s": run.done / run.seconds if run.seconds else None,
    }


def published(model: str, dataset: Dataset) -> list[dict[str, str]]:
    """What sources claim of the declared model on this dataset."""
    if dataset.published is None or model not in declared_models():
        return []
    claims = load_config(model).claims
    said = [(claim.source, claim.values().get(dataset.published)) for claim in claims]
    return [{"source": source, dataset.published: figure} for source, figure in said if figure is not None]


def require_finite(record: dict[str, Any]) -> None:
    """End with exit code 1 if a model said something that is not a number.

    Raises:
        CheckFailed: it did.
    """
    wrong = [row["name"] for row in record["contenders"] if not row["finite"]]
    if wrong:
        seen = f"{', '.join(wrong)}: joints that are not finite"
        raise CheckFailed("a model computes no poses", seen, "do not ship it; `convnextpose predict` shows one image")


def _row(model: EvaluatedModel) -> dict[str, Any]:
    tally, price = model.tally, model.tally.price()
    row = {
        "name": model.name,
        "runtime": model.runtime,
        "precision": model.backend.precision,
        "takes_pixels": model.backend.takes_pixels,
        "run_by": model.backend.describe(),
        "reference": model.is_reference,
        "sha256": model.sha256,
        "mpjpe_mm": tally.mean(ERROR_MM),
        "pa_mpjpe_mm": tally.mean(ALIGNED_MM),
        "error_px": tally.mean(ERROR_PX),
        "price_mm": None if price is None else dict(zip(("mean", "low", "high"), price, strict=True)),
        "drift_mm": {"mean": tally.mean(DRIFT_MM), "max": tally.largest()},
        "joints": {
            "mpjpe_mm": tally.of_joints(ERROR_MM),
            "pa_mpjpe_mm": tally.of_joints(ALIGNED_MM),
            "error_px": tally.of_joints(ERROR_PX),
        },
        "groups": {
            group: {
                "mpjpe_mm": tally.mean(ERROR_MM, group),
                "pa_mpjpe_mm": tally.mean(ALIGNED_MM, group),
                "error_px": tally.mean(ERROR_PX, group),
            }
            for group in tally.groups(ERROR_PX)
        },
        "seconds": model.seconds,
    }
    return {**finite_or_none(row), "finite": all_finite(row)}
