"""Random architectures, and weights of their shape."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from hypothesis import strategies as st

from export.checkpoint.loading import Checkpoint
from export.checkpoint.verdict import Verdict, judge
from export.model.architecture import KERNEL_SIZES, Architecture
from export.model.config import ModelConfig
from tests.support.checkpoints import State, declared


def architectures(
    *,
    joints: Sequence[int] = (18, 21),
    depth_dims: Sequence[int] = (32, 64),
    upsamplings: Sequence[int] = (0, 1, 2, 3),
    input_sizes: Sequence[int] = (256,),
    blocks: int = 4,
    width: int = 24,
) -> st.SearchStrategy[Architecture]:
    """Return small networks of the released layout, with at most this many blocks a stage and this width."""
    return st.builds(
        Architecture,
        depths=st.tuples(*[st.integers(1, blocks)] * 4),
        dims=st.tuples(*[st.integers(1, width)] * 4),
        head_channels=st.tuples(*[st.integers(1, width)] * 3),
        head_kernels=st.tuples(*[st.sampled_from(KERNEL_SIZES)] * 3),
        joints=st.sampled_from(joints),
        depth_dim=st.sampled_from(depth_dims),
        upsamplings=st.sampled_from(upsamplings),
        input_size=st.sampled_from(input_sizes),
    )


def blank_weights(architecture: Architecture) -> State:
    """Return a state dict of ones."""
    counter = ".num_batches_tracked"
    return {
        name: torch.ones(shape, dtype=torch.int64 if name.endswith(counter) else torch.float32)
        for name, shape in architecture.tensor_shapes().items()
    }


def seen_in(config: ModelConfig, architecture: Architecture, overrides: Mapping[str, int] | None = None) -> Verdict:
    """Return the verdict on a checkpoint of this architecture, compared with ``config``."""
    weights = blank_weights(architecture)
    names = {name: name for name in weights}
    return judge(config, Checkpoint(Path("a file"), "torch zip", "0" * 64, "", weights, names), overrides)


def halved(model: str) -> State:
    """Return blank weights of a declared model, half as large."""
    return {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in blank_weights(declared(model)).items()
    }
