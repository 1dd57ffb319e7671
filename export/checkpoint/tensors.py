"""Tensors of a state dict, copied out of the storages of a checkpoint."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from export.checkpoint.containers import DAMAGED_ZIP, DOWNLOAD_AGAIN, Content
from export.checkpoint.pickled import OtherTensor, PickledTensor
from export.common.errors import BadInput
from export.common.plain import shorten

TensorLike = torch.Tensor | PickledTensor | OtherTensor
StateDict = Mapping[str, TensorLike]

MAX_WEIGHT_BYTES = 2 << 30
MAX_TENSORS = 10_000
MAX_RANK = 8

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2),
        *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool),
    )
}
"""Types that weights and counters may have."""


def elements(tensor: TensorLike) -> int:
    """Return the number of a tensor's elements; 0 if it is not dense."""
    if isinstance(tensor, OtherTensor):
        return 0
    return math.prod(tensor.shape)


def read_tensors(path: Path, content: Content, state: StateDict) -> dict[str, torch.Tensor]:
    """Return contiguous copies that keep nothing else of the file in memory.

    Raises:
        BadInput: a tensor is not dense, of a type that weights do not have, or larger than its storage.
    """
    if len(state) > MAX_TENSORS:
        raise BadInput(f"{path} holds too many tensors", f"{len(state):,}", f"expected at most {MAX_TENSORS:,}")
    total = sum(_check(path, name, tensor) for name, tensor in state.items())
    if total > MAX_WEIGHT_BYTES:
        raise BadInput(f"{path} holds too large weights", f"{total:,} bytes", "expected less than 2 GiB")
    pickled = {name: tensor for name, tensor in state.items() if isinstance(tensor, PickledTensor)}
    tensors = {name: tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
    key, data = None, torch.empty(0)
    for name in sorted(pickled, key=lambda name: pickled[name].storage.key):  # reads each storage once
        tensor = pickled[name]
        if tensor.storage.key != key:
            key = tensor.storage.key
            data = _read_storage(path, content, tensor)
        tensors[name] = _view(tensor, data, big_endian=content.big_endian)
    return {name: tensors[name] for name in state}


def _check(path: Path, name: str, tensor: TensorLike) -> int:
    """Return the bytes of a tensor, after all checks that need only its description."""
    if isinstance(tensor, OtherTensor):
        detail = f"{shorten(name)!r} is {shorten(tensor.kind)}"
        raise BadInput(f"{path} holds a tensor that is not dense", detail, "save plain float weights")
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        detail = f"{shorten(name)!r} is {shorten(dtype)}"
        raise BadInput(f"{path} holds a tensor of a type that weights do not have", detail, "save plain float weights")
    size = elements(tensor) * DTYPES[dtype].itemsize
    if isinstance(tensor, torch.Tensor):
        return size
    steps = [(length - 1) * stride for length, stride in zip(tensor.shape, tensor.strides, strict=True)]
    end = (tensor.offset + sum(steps) + 1) * DTYPES[dtype].itemsize
    largest = max(*tensor.shape, *tensor.strides, 0, 0)
    too_large = len(tensor.shape) > MAX_RANK or largest > MAX_WEIGHT_BYTES
    if too_large or (size and max(size, end) > tensor.storage.size_bytes):
        shape = shorten(str(tensor.shape[:MAX_RANK]))
        raise BadInput(
            f"{path} holds a tensor that claims more than it has",
            f"{shorten(name)!r} of shape {shape} over {tensor.storage.size_bytes} bytes",
            "do not use this file: weights are saved in full",
        )
    return size


def _read_storage(path: Path, content: Content, tensor: PickledTensor) -> torch.Tensor:
    try:
        data = content.read_storage(tensor.storage)
    except DAMAGED_ZIP as error:
        raise BadInput(f"cannot read {path}", shorten(str(error)), DOWNLOAD_AGAIN) from error
    if len(data) != tensor.storage.size_bytes:
        raise BadInput(f"{path} changed while it was read", f"{len(data):,} bytes in a storage", "try again")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)


def _view(tensor: PickledTensor, data: torch.Tensor, *, big_endian: bool) -> torch.Tensor:
    """Return a copy of a tensor from its storage's bytes."""
    dtype = DTYPES[tensor.dtype]
    if elements(tensor) == 0:
        return torch.empty(tensor.shape, dtype=dtype)
    data = data[: data.numel() // dtype.itemsize * dtype.itemsize]
    if big_endian:
        data = data.view(-1, dtype.itemsize).flip(1).flatten()
    view = data.view(dtype).as_strided(tensor.shape, tensor.strides, tensor.offset)
    return view.clone(memory_format=torch.contiguous_format)
