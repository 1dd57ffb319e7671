"""Evaluations with planted figures."""

from collections.abc import Sequence
from typing import Any

from bench.accuracy.record import (
    AccuracyLoss,
    Errors,
    ErrorToReference,
    Evaluated,
    EvaluatedDataset,
    EvaluatedWeights,
    Evaluation,
    JointErrors,
)
from export.model.joint_sets import HUMAN36M

DATASET = EvaluatedDataset(name="Human3.6M, protocol 2", samples=2000, notes=())


def evaluated(runtime: str, precision: str, run_by: str, mpjpe_mm: float | None, **changes: Any) -> Evaluated:
    """Return one model with an error in mm and nothing else."""
    errors = Errors(mpjpe_mm=mpjpe_mm, pa_mpjpe_mm=None, error_px=None)
    fields: dict[str, Any] = {
        "name": f"{runtime} {precision}",
        "runtime": runtime,
        "precision": precision,
        "takes_pixels": False,
        "run_by": run_by,
        "reference": False,
        "sha256": None,
        **errors.model_dump(),
        "accuracy_loss_mm": None,
        "error_mm": ErrorToReference(mean=None, max=None),
        "joints": JointErrors(mpjpe_mm=(), pa_mpjpe_mm=(), error_px=()),
        "groups": {},
        "seconds": 1.0,
        "finite": True,
    }
    return Evaluated(**fields | changes)


def loss(mean: float, low: float | None = None, high: float | None = None) -> AccuracyLoss:
    """Return an accuracy loss."""
    return AccuracyLoss(mean=mean, low=low, high=high)


def evaluation(rows: Sequence[Evaluated], sha256: str = "a" * 64, **changes: Any) -> Evaluation:
    """Return the evaluation of these models on 2000 samples."""
    fields: dict[str, Any] = {
        "model": "S",
        "weights": EvaluatedWeights(origin="checkpoint", path=None, sha256=sha256),
        "dataset": DATASET,
        "flip": True,
        "joint_names": HUMAN36M.joints,
        "counted_joints": HUMAN36M.joints[:-1],
        "published": (),
        "rows": tuple(rows),
        "machine": {"cpu": "A processor", "cores": 2, "system": "Linux x86_64"},
        "seconds": 3.0,
        "samples_per_s": 700.0,
    }
    return Evaluation(**fields | changes)
