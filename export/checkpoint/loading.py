"""Loading of a checkpoint from any container, as tensors under canonical names. No code in the file runs.

Torch files are read with ``weights_only=True``, without a fallback. Everything beside the state dict (the optimizer's
moments are two thirds of a released file) is left unread where the container allows it, and otherwise dropped at once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from export.checkpoint.containers import Container, open_container
from export.common.errors import BadInput
from export.common.files import sha256_path

STATE_DICT_KEYS = ("network", "state_dict", "model_state_dict", "model", "net", "ema", "model_ema")
"""Keys under which training scripts keep the weights; the released files use ``network``."""

WRAPPER_PREFIXES = ("module.", "_orig_mod.")
"""Prefixes that DataParallel and torch.compile put before every name."""

HEAD_NAME = re.compile(
    r"head\.deconv_layers(?:_(?P<named>[0-9]{1,9})|\.(?P<listed>[0-9]{1,9}))\.(?P<part>dwconv|norm|pwconv|[012])\."
)
HEAD_PARTS = {"0": "dwconv", "1": "norm", "2": "pwconv"}


@dataclass(frozen=True)
class Checkpoint:
    """A state dict under canonical names, and its file."""

    path: Path
    container: Container
    sha256: str
    location: str
    """Key of the file's dictionary that holds the weights; empty for a bare state dict."""
    tensors: Mapping[str, torch.Tensor]
    names_in_file: Mapping[str, str]
    """Canonical name → name in the file."""
    epoch: int | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the weights in ``path``, whatever container they are in.

    Raises:
        BadInput: the file is missing, empty, damaged or of an unknown format, would execute code, or has no state dict.
    """
    container, load = open_container(path)
    content = load()
    epoch = content.get("epoch") if isinstance(content, Mapping) else None
    location, state = _find_state_dict(path, content)
    del content
    tensors: dict[str, torch.Tensor] = {}
    names_in_file: dict[str, str] = {}
    for name, tensor in state.items():
        canonical = canonical_name(name)
        if canonical in tensors:
            raise BadInput(
                f"{path} holds one layer twice",
                f"{names_in_file[canonical]!r} and {name!r} both mean {canonical!r}",
                "remove one of the two spellings and save the file again",
            )
        tensors[canonical] = _own_copy(path, name, tensor)
        names_in_file[canonical] = name
    return Checkpoint(
        path=path,
        container=container,
        sha256=sha256_path(path),
        location=location,
        tensors=tensors,
        names_in_file=names_in_file,
        epoch=epoch if isinstance(epoch, int) else None,
    )


def canonical_name(name: str) -> str:
    """Return the name without wrappers, with head layers as ``deconv_layers_1.dwconv`` (counted from 1).

    >>> canonical_name("module.head.deconv_layers_1.0.weight")
    'head.deconv_layers_1.dwconv.weight'
    >>> canonical_name("head.deconv_layers.0.norm.bias")
    'head.deconv_layers_1.norm.bias'
    """
    while name.startswith(WRAPPER_PREFIXES):
        name = name.split(".", 1)[1]
    match = HEAD_NAME.match(name)
    if match is None:
        return name
    number = match["named"] or str(int(match["listed"]) + 1)
    part = HEAD_PARTS.get(match["part"], match["part"])
    return f"head.deconv_layers_{number}.{part}.{name[match.end() :]}"


def _find_state_dict(path: Path, content: Any) -> tuple[str, Mapping[str, torch.Tensor]]:
    if _is_state_dict(content):
        return "", content
    if not isinstance(content, Mapping):
        raise BadInput(
            f"{path} holds no state dict",
            f"an object of type {type(content).__name__}",
            "save the network's state_dict() instead",
        )
    candidates = [key for key in content if isinstance(key, str) and _is_state_dict(content[key])]
    for key in STATE_DICT_KEYS:
        if key in candidates:
            return key, content[key]
    if len(candidates) == 1:
        return candidates[0], content[candidates[0]]
    keys = ", ".join(repr(key) for key in list(content)[:12]) or "no keys at all"
    raise BadInput(
        f"{path} holds " + ("several state dicts" if candidates else "no state dict"),
        f"its keys are {keys}",
        f"save the weights under one of the keys {', '.join(STATE_DICT_KEYS)}",
    )


def _own_copy(path: Path, name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy that does not keep the file, or the optimizer's state in it, in memory."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        kind = "quantized" if tensor.is_quantized else "without data" if tensor.is_meta else str(tensor.layout)
        raise BadInput(f"{path} holds a tensor that is not dense", f"{name!r} is {kind}", "save plain float weights")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise BadInput(
            f"{path} holds a tensor that claims more than it has",
            f"{name!r} of shape {tuple(tensor.shape)} over {tensor.untyped_storage().nbytes()} bytes",
            "do not use this file: weights are saved in full",
        )
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in value.items())
    )
