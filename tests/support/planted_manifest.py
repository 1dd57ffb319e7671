"""Manifests of exports that do not exist: architecture, artifacts and parity."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from export.graph.onnx_record import TensorSpec
from export.model.joint_sets import HUMAN36M
from export.parity.budgets import REQUIRED_GRADE, budget_for
from export.pipeline.manifest import Artifact, Manifest

ERROR_MM = {"fp32": 0.006, "fp16": 0.04, "bf16": 0.6, "int8": 2.0}
SIZE_BYTES = {"fp32": 14_144_035, "fp16": 7_096_577, "bf16": 7_096_577, "int8": 3_817_599}


def manifest_of(model: str, weights: str, precisions: Sequence[str]) -> Manifest:
    """Return the manifest of a network that does not exist."""
    field = {"field": "upsamplings", "declared": 2, "found": None, "used": 2, "source": "rule", "why": "a cube"}
    architecture = {
        "depths": [3, 3, 9, 3],
        "dims": [48, 96, 192, 384],
        "head_channels": [256] * 3,
        "head_kernels": [3] * 3,
        "joints": 18,
        "depth_dim": 32,
        "upsamplings": 2,
        "input_size": 256,
        "heatmap_size": 32,
    }
    return Manifest.model_validate(
        {
            "model": model,
            "weights": {"origin": weights, "path": None, "sha256": "a" * 64, "container": None},
            "architecture": architecture,
            "verdict": [
                field | {"agrees": True},
                field
                | {"field": "depth_dim", "declared": 64, "found": 32, "used": 32, "source": "weights"}
                | {"agrees": False},
            ],
            "nearest_models": [{"model": model, "differs_in": []}],
            "claims": [],
            "counts": {"parameters": 7_438_976, "state_elements": 7_440_000, "macs": 1_751_000_000},
            "artifacts": [artifact(model, of) for of in precisions],
            "not_run": [{"kind": "engine", "precision": "fp32", "status": "not run", "reason": "no builder here"}],
            "parity": [parity(model, of) for of in precisions],
            "tools": {"torch": "2.13.0", "onnxruntime": "1.31.1"},
        }
    )


def artifact(model: str, precision: str) -> Artifact:
    """One ONNX file, whose hash is a digit for each precision."""
    tensor = TensorSpec("image", "float32", ("batch", 3, 256, 256))
    return Artifact(
        kind="onnx",
        runtime="onnx",
        precision=precision,
        path=f"onnx/{model}-{precision}.onnx",
        sha256=str(list(REQUIRED_GRADE).index(precision)) * 64,
        size_bytes=SIZE_BYTES[precision],
        inputs=(tensor,),
        outputs=(),
        status="parity pass",
        details={},
    )


def parity(model: str, precision: str) -> dict[str, Any]:
    """Return a parity entry; the left wrist is the worst joint."""
    mean = ERROR_MM[precision]
    joints = [mean * (1 + index / 6) for index in range(len(HUMAN36M.joints))]
    worst = HUMAN36M.joints.index("L_Wrist")
    joints[worst] = 9 * mean
    error = {"mean_mm": mean, "p99_mm": 5 * mean, "max_mm": 9 * mean, "max_bins": mean, "max_pixels": mean}
    statistics = {"verdict": "known", "reason": "", "mean_shift": 0.01, "log_variance_ratio": 0.01, "images": 64}
    statistics |= {"limits": {"mean_shift": 0.06, "log_variance_ratio": 0.1}, "every_norm": "parity/norms.json"}
    images = {"source": "drawn figures, seed 1019", "count": 64, "sha256": "b" * 64, "notes": []}
    return {
        "artifact": f"onnx/{model}-{precision}.onnx",
        "precision": precision,
        "edition": precision,
        "outcome": "pass",
        "status": "pass",
        "reason": f"max distance {9 * mean:.3g} mm",
        "runtime": "onnxruntime 1.31.1, CPU",
        "images": images | {"statistics": statistics},
        "budget": asdict(budget_for(precision, trained=True)),
        "grade": "exact",
        **dict.fromkeys(("candidate", "reference", "floor"), error),
        "signal": {"over_images_mm": 300.0, "over_joints_mm": 300.0},
        "worst_image": 0,
        "worst_batch": 1,
        "batches": [1],
        "worst_joint_name": "L_Wrist",
        "worst_joint": worst,
        "per_joint_max_mm": joints,
        "runs": [],
        "not_run": [{"runner": "OpenVINO", "reason": "no bfloat16 here"}] if precision == "bf16" else [],
    }
