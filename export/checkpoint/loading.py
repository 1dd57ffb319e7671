"""Loading of a checkpoint from any container, as tensors under canonical names. No code in the file runs.

Everything beside the state dict (the optimizer's moments are two thirds of a released file) is left unread.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from export.checkpoint.containers import Container, open_container
from export.checkpoint.networks import choose_network
from export.checkpoint.tensors import read_tensors
from export.common.files import sha256_path


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
    other_networks: tuple[str, ...] = ()
    """Keys of other networks in the file."""


def read_checkpoint(path: Path, weights_key: str | None = None) -> Checkpoint:
    """Read the weights in ``path``, whatever container they are in.

    Args:
        path: a file, or the folder unpacked from one.
        weights_key: key of the weights, if the file holds several networks; by default the averaged one.

    Raises:
        BadInput: the file is missing, empty, damaged or of an unknown format, would execute code, or has no state dict.
    """
    with open_container(path) as content:
        choice = choose_network(path, content.value, weights_key)
        tensors = read_tensors(path, content, choice.state)
        epoch = content.value.get("epoch") if choice.key else None
    return Checkpoint(
        path=path,
        container=content.container,
        sha256=sha256_path(path),
        location=choice.key,
        tensors=tensors,
        names_in_file=choice.names_in_file,
        epoch=epoch if isinstance(epoch, int) else None,
        other_networks=choice.other_keys,
    )
