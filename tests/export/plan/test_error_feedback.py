"""Rounding with error feedback: always on the grid, and nearer to the exact outputs than rounding to nearest."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from export.plan import error_feedback
from export.plan.error_feedback import as_columns, from_columns, input_moments, round_with_feedback, sample_patches


def step(size: float) -> Callable[[Tensor, int], Tensor]:
    return lambda values, _: torch.round(values / size) * size


def half(values: Tensor, _: int) -> Tensor:
    return values.half().double()


def correlated(groups: int, columns: int, rows: int, seed: int) -> Tensor:
    """(G, M, K) inputs as neighbouring pixels are: nearly alike, with a mean that is not zero."""
    generator = torch.Generator().manual_seed(seed)
    shared = 2 + torch.randn(groups, rows, 1, generator=generator, dtype=torch.float64)
    return shared + 0.1 * torch.randn(groups, rows, columns, generator=generator, dtype=torch.float64)


def zero_sum(groups: int, outputs: int, columns: int, seed: int) -> Tensor:
    weights = torch.randn(groups, outputs, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return weights - weights.mean(dim=2, keepdim=True)


def output_error(difference: Tensor, moments: Tensor) -> Tensor:
    """(G, O) E|Δw·x|²."""
    return ((difference @ moments) * difference).sum(dim=2)


shapes = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(2, 40))


@given(shape=shapes, seed=st.integers(0, 2**32 - 1), size=st.sampled_from((0.01, 0.1, 0.5)))
def test_rounded_weights_lie_on_the_grid(shape: tuple[int, int, int], seed: int, size: float) -> None:
    groups, outputs, columns = shape
    weights, x = zero_sum(groups, outputs, columns, seed), correlated(groups, columns, 200, seed + 1)
    found = round_with_feedback(weights, input_moments(x), step(size))
    steps = found / size
    assert found.shape == weights.shape
    assert torch.allclose(steps, torch.round(steps), rtol=0, atol=1e-9)


@given(
    groups=st.integers(1, 3),
    columns=st.integers(8, 49),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from((0.01, 0.1, 0.5)),
)
def test_outputs_lose_less_than_by_rounding_to_nearest(groups: int, columns: int, seed: int, size: float) -> None:
    """On the mean over filters; a single one may be lucky."""
    outputs = 32
    weights, x = zero_sum(groups, outputs, columns, seed), correlated(groups, columns, 200, seed + 1)
    moments = input_moments(x)
    found = round_with_feedback(weights, moments, step(size))
    nearest = torch.round(weights / size) * size
    feedback, plain = (float(output_error(w - weights, moments).mean()) for w in (found, nearest))
    assert feedback < plain / 3


def test_strong_correlation_makes_a_large_difference() -> None:
    weights, x = zero_sum(1, 32, 49, 0), correlated(1, 49, 1000, 1)
    moments = input_moments(x)
    for grid in (half, step(0.05)):
        nearest = grid(weights, 0)
        found = round_with_feedback(weights, moments, grid)
        feedback, plain = (output_error(w - weights, moments).mean() for w in (found, nearest))
        assert feedback < plain / 20
    # Weights without correlated inputs have nothing to gain.
    alone = torch.eye(49, dtype=torch.float64)[None]
    assert torch.equal(round_with_feedback(weights, alone, half), half(weights, 0))


@pytest.mark.parametrize("block", [1, 40, 1000])
def test_the_size_of_a_block_does_not_matter(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, moments = zero_sum(2, 8, 100, 3), input_moments(correlated(2, 100, 400, 4))
    expected = round_with_feedback(weights, moments, step(0.1))
    monkeypatch.setattr(error_feedback, "BLOCK", block)
    assert torch.equal(round_with_feedback(weights, moments, step(0.1)), expected)


def test_groups_are_independent_but_for_their_common_order() -> None:
    """Each of equal groups is rounded as it would be alone, and another group's inputs do not matter."""
    weights, moments = zero_sum(1, 1, 49, 5), input_moments(correlated(1, 49, 300, 6))
    alone = round_with_feedback(weights, moments, step(0.1))
    three = round_with_feedback(weights.expand(3, 1, 49), moments.expand(3, 49, 49), step(0.1))
    assert torch.equal(three, alone.expand(3, 1, 49))
    # Scaling a group keeps the order of columns, and so must keep the others' results.
    scaled = torch.cat([moments, 4 * moments, moments])
    assert torch.equal(round_with_feedback(weights.expand(3, 1, 49), scaled, step(0.1)), three)


def test_a_grid_is_told_which_column_it_rounds() -> None:
    """The bias, the last column, has a grid of its own; the order of rounding is not that of the columns."""
    weights, moments = zero_sum(1, 4, 10, 7), input_moments(correlated(1, 10, 100, 8))
    told: list[int] = []

    def grid(values: Tensor, column: int) -> Tensor:
        told.append(column)
        return values if column == 9 else torch.round(values / 0.1) * 0.1

    found = round_with_feedback(weights, moments, grid)
    assert sorted(told) == list(range(10))
    assert told != sorted(told)
    steps = found / 0.1
    assert torch.allclose(steps[..., :9], torch.round(steps[..., :9]), rtol=0, atol=1e-9)
    assert not torch.allclose(steps[..., 9], torch.round(steps[..., 9]), rtol=0, atol=1e-3)


@pytest.mark.parametrize("dead", ["one input", "all inputs", "weights too"])
def test_inputs_that_are_always_zero_are_rounded_to_numbers(dead: str) -> None:
    weights, x = zero_sum(2, 4, 12, 9), correlated(2, 12, 100, 10)
    x[:, :, 3 if dead == "one input" else slice(None)] = 0
    if dead == "weights too":
        weights = torch.zeros_like(weights)
    found = round_with_feedback(weights, input_moments(x), half)
    assert torch.isfinite(found).all()
    assert torch.equal(found, found.half().double())
    assert (found[:, :, 3] - weights[:, :, 3]).abs().max() <= 2**-11 * weights[:, :, 3].abs().max()


# ── convolutions as columns ──────────────────────────────────────────────────────────────────────────────────────────

CONVS: dict[str, Callable[[], nn.Conv2d]] = {
    "stem": lambda: nn.Conv2d(3, 8, 4, stride=4),
    "depthwise": lambda: nn.Conv2d(6, 6, 7, padding=3, groups=6),
    "depthwise 3x3": lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6),
    "downsampling": lambda: nn.Conv2d(6, 10, 2, stride=2),
    "pointwise": lambda: nn.Conv2d(6, 10, 1),
}


@pytest.fixture(params=CONVS)
def conv(request: pytest.FixtureRequest) -> nn.Conv2d:
    torch.manual_seed(0)
    return CONVS[request.param]().requires_grad_(False)


def test_columns_and_back(conv: nn.Conv2d) -> None:
    assert conv.bias is not None
    weight, bias = from_columns(conv, as_columns(conv))
    assert torch.equal(weight, conv.weight.double())
    assert torch.equal(bias, conv.bias.double())


def test_patches_times_weights_are_the_outputs(conv: nn.Conv2d) -> None:
    """At all places, in every order; and at a few of them, which are outputs too."""
    x = torch.randn(3, conv.in_channels, 12, 16, generator=torch.Generator().manual_seed(1))
    outputs = conv(x)
    height, width = outputs.shape[2:]
    for count in (height * width, 5):
        patches = sample_patches(conv, x, count, torch.Generator().manual_seed(2))
        assert patches.shape == (conv.groups, 3 * count, as_columns(conv).shape[2])
        assert patches.dtype == x.dtype
        assert (patches[:, :, -1] == 1).all()
        found = patches.double() @ as_columns(conv).transpose(1, 2)  # (G, N · count, O)
        by_image = found.reshape(conv.groups, 3, count, -1).permute(1, 0, 3, 2).reshape(3, conv.out_channels, count)
        places = torch.randperm(height * width, generator=torch.Generator().manual_seed(2))[:count]
        expected = outputs.flatten(2)[:, :, places]
        assert torch.allclose(by_image, expected.double(), rtol=0, atol=1e-4)


def test_more_patches_than_there_are_places_are_not_taken(conv: nn.Conv2d) -> None:
    x = torch.randn(2, conv.in_channels, 8, 8)
    places = conv(x).shape[2] * conv(x).shape[3]
    assert sample_patches(conv, x, 10_000, torch.Generator()).shape[1] == 2 * places


def test_moments_are_those_of_all_patches() -> None:
    x = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([torch.stack([torch.outer(row, row) for row in group]).mean(dim=0) for group in x])
    assert torch.allclose(input_moments(x), expected.double(), rtol=0, atol=1e-6)
