"""Checkpoints in every known form."""

import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from export.model.architecture import Architecture
from export.model.config import load_config
from export.model.network import ConvNeXtPose
from export.synthetic.random_weights import stand_in_weights

TINY = Architecture(
    depths=(1, 1, 2, 1),
    dims=(8, 16, 24, 32),
    head_channels=(16, 16, 16),
    head_kernels=(3, 3, 3),
    joints=18,
    depth_dim=32,
    upsamplings=2,
)
"""A small network of the released layout."""

State = dict[str, Tensor]
Form = Literal["zip", "legacy", "folder", "rezipped", "bare", "safetensors"]
FORMS: tuple[Form, ...] = ("zip", "legacy", "folder", "rezipped", "bare", "safetensors")
HeadSpelling = Literal["named", "positional", "listed"]


def declared(model: str) -> Architecture:
    """Return the architecture of a declared model."""
    return load_config(model).architecture


@cache
def _alive(architecture: Architecture) -> State:
    return stand_in_weights(architecture)


def alive_weights(architecture: Architecture = TINY) -> State:
    """Return copies of stand-in weights, which a test may change."""
    return {name: tensor.clone() for name, tensor in _alive(architecture).items()}


def fresh_weights(architecture: Architecture, *, as_convnext: bool = True) -> State:
    """Return untrained weights, with ConvNeXt's or torch's initialisation."""
    torch.manual_seed(0)
    network = ConvNeXtPose(architecture)
    for module in network.modules():
        if as_convnext and isinstance(module, torch.nn.Conv2d):
            assert module.bias is not None
            torch.nn.init.trunc_normal_(module.weight, std=0.02)
            torch.nn.init.zeros_(module.bias)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def spelled(state: Mapping[str, Tensor], head: HeadSpelling = "named", prefix: str = "module.") -> State:
    """Rename tensors as in released files."""
    position = {"dwconv": "0", "norm": "1", "pwconv": "2"}
    renamed = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[1].startswith("deconv_layers_") and head != "named":
            if head == "positional":
                parts[2] = position[parts[2]]
            else:
                parts[1] = f"deconv_layers.{int(parts[1][-1]) - 1}"
        renamed[prefix + ".".join(parts)] = tensor
    return renamed


def released(state: Mapping[str, Tensor], epoch: int = 83) -> dict[str, Any]:
    """Return the dictionary of the released training code: weights, and AdamW's two moments of each."""
    parameters = [torch.nn.Parameter(t.clone()) for n, t in state.items() if n.endswith((".weight", ".bias"))]
    optimizer = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return {"epoch": epoch, "network": dict(state), "optimizer": optimizer.state_dict()}


def write(path: Path, state: Mapping[str, Tensor], form: Form = "zip") -> Path:
    """Write ``state`` to ``path`` in a form, with the released layout if the form has one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "safetensors":
        save_file(dict(state), path)
    elif form == "bare":
        torch.save(dict(state), path)
    elif form == "legacy":
        torch.save(released(state), path, _use_new_zipfile_serialization=False)
    elif form == "zip":
        torch.save(released(state), path)
    else:
        packed = path.with_name(path.name + ".packed")
        torch.save(released(state), packed)
        unpacked = path if form == "folder" else path.with_name(path.name + ".unpacked")
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(unpacked)
        packed.unlink()
        if form == "rezipped":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in sorted(p for p in unpacked.rglob("*") if p.is_file()):
                    archive.write(file, file.relative_to(unpacked.parent))
    return path
