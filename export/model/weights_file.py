"""Weights file: FP32 tensors under canonical names, with the detected architecture.

Every later step starts from it and needs no knowledge of containers.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from export.model.architecture import Architecture
from export.model.network import ConvNeXtPose, build_network


def save_weights(path: Path, tensors: Mapping[str, Tensor], architecture: Architecture) -> None:
    """Write tensors with their architecture: floating-point ones as float32, counters as they are."""
    plain = {n: t.float().contiguous() if t.is_floating_point() else t for n, t in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save(plain, metadata={"architecture": json.dumps(asdict(architecture))}))


def load_network(path: Path) -> ConvNeXtPose:
    """Load the FP32 reference network that ``save_weights`` wrote."""
    with safe_open(path, "pt") as file:
        described = file.metadata()["architecture"]
    return build_network(TypeAdapter(Architecture).validate_json(described), load_file(path))
