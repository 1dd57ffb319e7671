"""Stand-in weights have the numeric regime of a released network, and joints that move."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from export.images.norm_statistics import measure_images
from export.model.architecture import Architecture
from export.model.network import BATCH_NORM_EPS, build_network
from export.model.reference import run_reference
from export.parity.comparison import joint_spread
from export.parity.images import parity_images
from export.runtime.pose import Volume
from export.synthetic import weight_statistics as released
from export.synthetic.random_weights import stand_in_weights
from tests.support.checkpoints import TINY, State, alive_weights, declared
from tests.support.drawings import SHAPES_SEED, drawn_images

SUBNORMAL_WEIGHTS = 0.168
"""Share of its convolutions' weights that are subnormal in FP16 or zero."""

ATTO = declared("XS-atto")
ARCHITECTURES = {"XS-atto": ATTO, "tiny": TINY}
FP16_SMALLEST_NORMAL = 2.0**-14


def named(weights: State, *parts: str) -> Tensor:
    """Return all tensors whose names end so, flattened."""
    return torch.cat([t.flatten() for name, t in weights.items() if name.endswith(parts)])


def log_median(values: Tensor) -> float:
    """Return the median of ln|values|."""
    return float(values.abs().log().median())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_variances_within_blocks_are_those_of_the_released_network(name: str) -> None:
    weights = alive_weights(ARCHITECTURES[name])
    variances = torch.cat([t for n, t in weights.items() if "stages" in n and n.endswith("norm.running_var")])
    assert log_median(variances) == pytest.approx(released.BLOCK_NORM.variance.location, abs=1.0)
    assert float((variances < BATCH_NORM_EPS).float().mean()) > 0.9


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_hidden_units_are_dead_and_weights_subnormal_in_fp16(name: str) -> None:
    weights = alive_weights(ARCHITECTURES[name])
    rows = [t.flatten(1).abs().amax(dim=1) for n, t in weights.items() if n.endswith("pwconv1.weight")]
    dead = torch.cat(rows) < 127 * FP16_SMALLEST_NORMAL
    assert float(dead.float().mean()) == pytest.approx(released.DEAD_HIDDEN_UNITS, abs=0.02)
    convs = torch.cat([t.flatten().abs() for t in weights.values() if t.ndim == 4])
    subnormal = float((convs < FP16_SMALLEST_NORMAL).float().mean())
    assert subnormal == pytest.approx(SUBNORMAL_WEIGHTS, abs=0.1)


def test_drawn_figures_are_known() -> None:
    result = measure_images(build_network(TINY, alive_weights()), parity_images(256).images)
    assert result.verdict == "known", result.reason


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = stand_in_weights(TINY, seed=5)
    torch.manual_seed(2)
    again, other = stand_in_weights(TINY, seed=5), stand_in_weights(TINY, seed=6)
    assert first.keys() == again.keys() == TINY.tensor_shapes().keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name])
        if name.endswith((".dwconv.weight", ".pwconv.weight", ".running_mean", "final_layer.weight")):
            assert not torch.equal(tensor, other[name]), name


@pytest.mark.parametrize(
    "architecture",
    [ATTO, TINY, replace(TINY, head_kernels=(7, 5, 3)), replace(TINY, depth_dim=64, upsamplings=3)],
    ids=["XS-atto", "tiny", "wide kernels", "depth 64"],
)
def test_joints_move_along_every_axis(architecture: Architecture) -> None:
    network = build_network(architecture, alive_weights(architecture))
    joints = run_reference(network, drawn_images(4, 256, SHAPES_SEED), batch=2)
    spread = joint_spread(joints, Volume.from_architecture(architecture))
    assert min(spread.over_images_mm, spread.over_joints_mm) > 100
    edges = np.array([architecture.heatmap_size, architecture.heatmap_size, architecture.depth_dim])
    assert ((joints >= 0) & (joints <= edges - 1)).all()
    assert (joints.std(axis=(0, 1)) > 0.02 * edges).all()
