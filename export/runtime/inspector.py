"""The JSON of an engine's inspector: its layers, and the types of their tensors.

NVIDIA documents ``Layers`` with ``LayerType``, ``Inputs`` and ``Outputs``. A tensor's type is in ``Format/Datatype`` up
to TensorRT 10, in ``DataType`` since 11. An engine that was built without details lists the names of its layers only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any


def inspector_layers(text: str) -> list[Any]:
    """Return the layers in an inspector's JSON; none where it is no JSON or has no layers."""
    try:
        return list(json.loads(text)["Layers"])
    except (ValueError, KeyError, TypeError):
        return []


def tensor_type(tensor: Mapping[str, Any]) -> str:
    """Return the inspector's description of a tensor's type; empty where there is none."""
    return str(tensor.get("DataType") or tensor.get("Format/Datatype") or "")


def read_convolution_types(text: str) -> dict[str, int]:
    """Count the types of the outputs of convolutions; empty where the inspector gives none."""
    detailed = [layer for layer in inspector_layers(text) if isinstance(layer, dict)]
    convolutions = [layer for layer in detailed if "conv" in str(layer.get("LayerType")).lower()]
    types = [tensor_type(output) for layer in convolutions for output in layer.get("Outputs", ())]
    return Counter(kind for kind in types if kind)
