"""Architectures drawn over everything that a state dict can show, and weights of their shape."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from hypothesis import strategies as st

from export.checkpoint.loading import Checkpoint
from export.checkpoint.verdict import Verdict, judge
from export.model.architecture import KERNEL_SIZES, Architecture
from export.model.config import ModelConfig
from tests.support.checkpoints import State


def architectures(
    *,
    joints: Sequence[int] = (18, 21),
    depth_dims: Sequence[int] = (32, 64),
    upsamplings: Sequence[int] = (0, 1, 2, 3),
    input_sizes: Sequence[int] = (256,),
) -> st.SearchStrategy[Architecture]:
    """Any network of the released layout; small, but each width and depth drawn by itself."""
    return st.builds(
        Architecture,
        depths=st.tuples(*[st.integers(1, 4)] * 4),
        dims=st.tuples(*[st.integers(1, 24)] * 4),
        head_channels=st.tuples(*[st.integers(1, 24)] * 3),
        head_kernels=st.tuples(*[st.sampled_from(KERNEL_SIZES)] * 3),
        joints=st.sampled_from(joints),
        depth_dim=st.sampled_from(depth_dims),
        upsamplings=st.sampled_from(upsamplings),
        input_size=st.sampled_from(input_sizes),
    )


def blank_weights(architecture: Architecture) -> State:
    """Ones everywhere: valid, and as quickly made for a large network as for a small one."""
    counter = ".num_batches_tracked"
    return {
        name: torch.ones(shape, dtype=torch.int64 if name.endswith(counter) else torch.float32)
        for name, shape in architecture.tensor_shapes().items()
    }


def seen_in(config: ModelConfig, architecture: Architecture, overrides: Mapping[str, int] | None = None) -> Verdict:
    """The verdict on a checkpoint of that architecture, compared with ``config``."""
    weights = blank_weights(architecture)
    names = {name: name for name in weights}
    return judge(config, Checkpoint(Path("a file"), "torch zip", "0" * 64, "", weights, names), overrides)
