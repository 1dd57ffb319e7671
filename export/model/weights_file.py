"""The weights under canonical names, in FP32, with the architecture that they were found to have.

This is what every later step starts from, so that none of them has to know of containers.
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
    """Write floating-point tensors as float32 (FP64 is rounded here, once) and counters as they are."""
    plain = {n: t.float().contiguous() if t.is_floating_point() else t for n, t in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save(plain, metadata={"architecture": json.dumps(asdict(architecture))}))


def load_network(path: Path) -> ConvNeXtPose:
    """The FP32 reference network that ``save_weights`` wrote."""
    with safe_open(path, "pt") as file:
        described = file.metadata()["architecture"]
    return build_network(TypeAdapter(Architecture).validate_json(described), load_file(path))
