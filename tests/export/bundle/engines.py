"""A record of an engine, and GPUs that it was or was not tuned on."""

from typing import Any

from pose_runtime.engines import tuned_on
from pose_runtime.runtime.gpu import Gpu

ORIN = Gpu("Orin", "8.7", 8 << 30, 8)
ADA = Gpu("NVIDIA GeForce RTX 4090", "8.9", 24 << 30, 128)


def record(**change: Any) -> dict[str, Any]:
    """As ``build.py`` would have written it on ``ORIN``, with these changes."""
    made: dict[str, Any] = {
        "runtime": "tensorrt",
        "precision": "fp16",
        "onnx_sha256": "a",
        "package_version": "10.3.0.26",
        "targets": [],
        **tuned_on(ORIN),
        "hardware_compatible": False,
        "version_compatible": False,
        "profile": {"min": [1, 3, 8, 8], "opt": [1, 3, 8, 8], "max": [8, 3, 8, 8]},
    }
    return made | change
