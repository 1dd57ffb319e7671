"""The record of an engine, and GPUs that it was or was not tuned on."""

from typing import Any

from pose_runtime.engines import record_gpu
from pose_runtime.runtime.gpu import Gpu

ORIN = Gpu("Orin", "8.7", 8 << 30, 8)
ADA = Gpu("NVIDIA GeForce RTX 4090", "8.9", 24 << 30, 128)
VERSION = "10.3.0.26"


def record(**change: Any) -> dict[str, Any]:
    """Return a record as ``build.py`` writes it on ``ORIN``, with these changes."""
    return {
        "runtime": "tensorrt",
        "precision": "fp16",
        "onnx_sha256": "a",
        "package_version": VERSION,
        "targets": [],
        **record_gpu(ORIN),
        "profile": {"min": [1, 3, 8, 8], "opt": [1, 3, 8, 8], "max": [8, 3, 8, 8]},
        **change,
    }
