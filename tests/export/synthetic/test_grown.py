"""Grown networks compute what their source computes, with channels and blocks that look independent."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from export.checkpoint.loading import read_checkpoint
from export.common.errors import BadInput
from export.images.figures import EVALUATION_SEED, draw_figures
from export.model.architecture import Architecture
from export.model.config import load_config
from export.model.network import ConvNeXtPose, SoftArgmax, build_network
from export.runtime.pose import normalise
from export.synthetic.grown import grow, grow_demo, interpolate_depth
from export.synthetic.growth import growth_obstacle, plan_growth
from tests.support.checkpoints import TINY, State, alive_weights, declared

SMALL = Architecture(
    (1, 2, 1, 1), (3, 2, 4, 3), (3, 5, 2), (3, 5, 7), joints=3, depth_dim=4, upsamplings=1, input_size=64
)
PIXELS = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def random_weights(architecture: Architecture, seed: int = 0) -> State:
    """Float64 weights and statistics of ordinary size; no network was trained to them."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in architecture.tensor_shapes().items():
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        fan_in = values[0].numel() if values.dim() == 4 else 1
        state[name] = values / fan_in**0.5
        if name.endswith("running_var"):
            state[name] = values.exp()
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
    return state


@torch.inference_mode()
def joints_of(architecture: Architecture, state: State, images: Tensor = PIXELS) -> Tensor:
    """(N, J, 3) bins in float64."""
    network = ConvNeXtPose(architecture).double().eval()
    network.load_state_dict(state)
    joints: Tensor = network(images)
    return joints


Counts = tuple[int, ...]
more = st.integers(0, 4)
four, three = st.tuples(more, more, more, more), st.tuples(more, more, more)


def enlarged(
    before: Architecture, depths: tuple[int, ...], dims: tuple[int, ...], head: tuple[int, ...]
) -> Architecture:
    """``before`` with so many more blocks, channels and head channels."""
    sums = [
        tuple(a + b for a, b in zip(old, new, strict=True))
        for old, new in ((before.depths, depths), (before.dims, dims), (before.head_channels, head))
    ]
    return replace(before, depths=sums[0], dims=sums[1], head_channels=sums[2])


@settings(deadline=None, max_examples=15)
@given(depths=four, dims=four, head=three, seed=st.integers(0, 99))
def test_a_grown_network_computes_the_same_joints(depths: Counts, dims: Counts, head: Counts, seed: int) -> None:
    source, target = random_weights(SMALL, seed), enlarged(SMALL, depths, dims, head)
    grown = grow(source, SMALL, target, PIXELS, seed)
    assert {name: tuple(tensor.shape) for name, tensor in grown.items()} == target.tensor_shapes()
    assert (joints_of(target, grown) - joints_of(SMALL, source)).abs().max() < 1e-9


def test_every_norm_has_the_statistics_of_its_input() -> None:
    """Those of added blocks are stored in bfloat16: their relative error is at most 2^-9."""
    images = torch.from_numpy(normalise(np.stack([figure.image for figure in draw_figures(12, EVALUATION_SEED)])))
    target = enlarged(TINY, (1, 1, 1, 1), (3, 5, 7, 9), (16, 8, 4))
    source = build_network(TINY, alive_weights())
    refit(source, images)
    network = build_network(target, grow(source.state_dict(), TINY, target, images))
    for name, (mean, variance) in sampled(network, images).items():
        norm = network.get_submodule(name)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        allowed = 2**-8 * mean.abs() + 0.01 * (variance + 1e-5).sqrt()
        assert ((norm.running_mean - mean).abs() <= allowed).all(), name
        assert ((norm.running_var + 1e-5) / (variance + 1e-5) - 1).abs().max() < 2**-7, name


def sampled(network: ConvNeXtPose, images: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Name of each norm → mean and variance of its input."""
    found = {}

    def record(name: str, values: Tensor) -> None:
        variance, mean = torch.var_mean(values, dim=(0, 2, 3))
        found[name] = (mean, variance)

    hooks = [
        module.register_forward_pre_hook(lambda _, values, name=name: record(name, values[0]))
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    with torch.inference_mode():
        network(images)
    for hook in hooks:
        hook.remove()
    return found


def refit(network: ConvNeXtPose, images: Tensor) -> None:
    """Give every norm the statistics of its input, in the order of the data."""

    def fit(norm: nn.Module, values: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        variance, mean = torch.var_mean(values[0], dim=(0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    hooks = [m.register_forward_pre_hook(fit) for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()


def test_interpolated_bins_keep_the_depth() -> None:
    source = replace(SMALL, depth_dim=32, joints=1)
    place = torch.tensor([4.0, 15.3, 27.0], dtype=torch.float64)
    bump = -0.5 * ((torch.arange(32) - place[:, None]) / 1.5) ** 2  # (3 inputs, 32 bins)
    state = {"head.final_layer.weight": bump.T.reshape(32, 3, 1, 1), "head.final_layer.bias": bump[0]}
    finer = interpolate_depth(state, source, 64)
    for k, depth in enumerate(place.tolist()):
        logits = finer["head.final_layer.weight"][:, k].reshape(1, 64, 1, 1)
        assert SoftArgmax(1, 64)(logits)[0, 0, 2].item() == pytest.approx(2 * depth, abs=0.03)
    assert all(torch.equal(tensor, state[name]) for name, tensor in interpolate_depth(state, source, 32).items())


@pytest.mark.parametrize(
    ("changes", "obstacle"),
    [
        ({"joints": 21}, "joints must be 3, not 21"),
        ({"input_size": 128}, "input_size must be"),
        ({"depths": (1, 1, 1, 1)}, "depths must be at least"),
        ({"depth_dim": 3}, "depth_dim must be at least"),
        ({"upsamplings": 0}, "upsamplings must be at least"),
    ],
    ids=str,
)
def test_what_cannot_be_grown_is_refused_with_the_reason(changes: dict[str, int], obstacle: str) -> None:
    target = replace(SMALL, **changes)  # type: ignore[arg-type]
    assert obstacle in (growth_obstacle(SMALL, target) or "")
    with pytest.raises(BadInput, match="cannot be grown"):
        grow(random_weights(SMALL), SMALL, target, PIXELS)


@pytest.mark.parametrize("model", ["XS", "S", "M", "L"])
def test_declared_models_are_grown_from_the_demo_checkpoint(model: str) -> None:
    growth = plan_growth(load_config(model), {})
    assert growth is not None
    assert (growth.model, growth.path) == ("XS-atto", "demo/XS-atto-demo.pth")
    assert (growth.head is not None) == (declared(model).upsamplings == 3)
    assert growth_obstacle(growth.source, declared(model)) is None


@pytest.mark.parametrize(
    "overrides",
    [{"joints": 21}, {"depth_dim": 40}, {"depth_dim": 16}, {"input_size": 512}, {"upsamplings": 1}],
    ids=str,
)
def test_overrides_that_the_demo_checkpoint_cannot_follow_leave_stand_in_weights(overrides: dict[str, int]) -> None:
    assert plan_growth(load_config("S"), overrides) is None
    assert plan_growth(load_config("XS-atto"), {}) is None


@cache
def grown_demo(model: str, **overrides: int) -> tuple[ConvNeXtPose, ConvNeXtPose]:
    """The grown network and the demo network."""
    growth, demo = plan_growth(load_config(model), overrides), declared("XS-atto")
    assert growth is not None
    tensors = read_checkpoint(growth.checkpoint).tensors
    target = replace(declared(model), **overrides)  # type: ignore[arg-type]
    return build_network(target, grow_demo(growth, tensors, target)), build_network(demo, tensors)


@torch.inference_mode()
def relative_error_mm(grown: ConvNeXtPose, demo: ConvNeXtPose) -> Tensor:
    """(N, J) distance of the grown network's joints from the demo's, both relative to the pelvis."""
    images = torch.from_numpy(normalise(np.stack([f.image for f in draw_figures(4, EVALUATION_SEED)])))
    placed = []
    for network in (grown, demo):
        of = network.architecture
        joints = network(images) * (2000 / torch.tensor([of.heatmap_size, of.heatmap_size, of.depth_dim]))
        placed.append(joints - joints[:, :1])
    distances: Tensor = torch.linalg.vector_norm(placed[0] - placed[1], dim=2)
    return distances


def test_s_grown_from_the_demo_checkpoint_is_the_demo_network() -> None:
    assert relative_error_mm(*grown_demo("S")).max() < 0.01


def test_m_is_near_the_demo_network_though_its_map_is_stretched() -> None:
    assert relative_error_mm(*grown_demo("M")).mean() < 4.5
