"""An evaluation's record from its tallies, with the published figures beside the measured ones."""

import math
from collections.abc import Sequence
from typing import Any

from bench.accuracy.evaluation import EvaluatedModel, Run
from bench.accuracy.record import Evaluated, EvaluatedDataset, EvaluatedWeights, Evaluation
from bench.accuracy.tally import ALIGNED_MM, ALL, ERROR_MM, ERROR_PX, REFERENCE_MM, Tally
from bench.datasets.protocol import Dataset
from bench.machine.system import machine
from bench.sessions.exported import ExportFolder
from export.common.errors import CheckFailed
from export.common.plain import all_finite, finite_or_none
from export.model.config import declared_models, load_config
from export.pipeline.steps import sha256_code

MEASURES = {"mpjpe_mm": ERROR_MM, "pa_mpjpe_mm": ALIGNED_MM, "error_px": ERROR_PX}


def run_key(exported: ExportFolder, dataset: Dataset, models: Sequence[EvaluatedModel], flip: bool) -> dict[str, Any]:
    """Return everything that an evaluation's result depends on."""
    return {
        "weights": exported.manifest.weights.sha256,
        "architecture": exported.manifest.architecture.model_dump(),
        "dataset": dataset.identity,
        "models": [[model.name, model.sha256, model.session.describe()] for model in models],
        "flip": flip,
        "code": {package: sha256_code(package) for package in ("export", "bench")},
    }


def evaluation_of(exported: ExportFolder, dataset: Dataset, run: Run, *, flip: bool) -> Evaluation:
    """Return every model's errors; a value that is not finite is null, and then ``finite`` is false."""
    weights, names = exported.manifest.weights, dataset.joint_set.joints
    about = {**dataset.identity, "name": dataset.name, "samples": len(dataset), "notes": dataset.notes}
    return Evaluation(
        model=exported.manifest.model,
        weights=EvaluatedWeights(origin=weights.origin, path=weights.path, sha256=weights.sha256),
        dataset=EvaluatedDataset.model_validate(about),
        flip=flip,
        joint_names=names,
        counted_joints=tuple(names[j] for j in dataset.counted),
        published=tuple(published(exported.manifest.model, dataset)),
        rows=tuple(_row(model) for model in run.models),
        machine=machine(),
        seconds=run.seconds,
        samples_per_s=run.done / run.seconds if run.seconds else None,
    )


def published(model: str, dataset: Dataset) -> list[dict[str, str]]:
    """Return the published figures of the declared model on this dataset."""
    if dataset.published is None or model not in declared_models():
        return []
    claims = load_config(model).claims
    figures = [(claim.source, claim.values().get(dataset.published)) for claim in claims]
    return [{"source": source, dataset.published: figure} for source, figure in figures if figure is not None]


def require_finite(evaluation: Evaluation) -> None:
    """Check that every model computed numbers.

    Raises:
        CheckFailed: some joints are not finite.
    """
    wrong = [row.name for row in evaluation.rows if not row.finite]
    if wrong:
        detail = f"{', '.join(wrong)}: joints that are not finite"
        raise CheckFailed("a model computes no poses", detail, "do not ship it; `convnextpose predict` shows one image")


def _row(model: EvaluatedModel) -> Evaluated:
    tally, loss = model.tally, model.tally.accuracy_loss()
    row = {
        "name": model.name,
        "runtime": model.runtime,
        "precision": model.session.precision,
        "takes_pixels": model.session.takes_pixels,
        "run_by": model.session.describe(),
        "reference": model.is_reference,
        "sha256": model.sha256,
        **_means(tally),
        "price_mm": dict(zip(("mean", "low", "high"), loss, strict=True)) if loss else None,
        "drift_mm": {"mean": tally.mean(REFERENCE_MM), "max": tally.largest()},
        "joints": {name: tally.joint_means(measure) for name, measure in MEASURES.items()},
        "groups": {group: _means(tally, group) for group in tally.groups(ERROR_PX)},
        "seconds": model.seconds,
    }
    plain = {**finite_or_none(row), "finite": all_finite(row)}
    if loss and not math.isfinite(loss[0]):
        plain["price_mm"] = None
    return Evaluated.model_validate(plain)


def _means(tally: Tally, group: str = ALL) -> dict[str, float | None]:
    return {name: tally.mean(measure, group) for name, measure in MEASURES.items()}
