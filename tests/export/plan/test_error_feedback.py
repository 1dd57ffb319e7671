"""Rounding with error feedback: on the grid, and with a smaller output error than rounding to nearest."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from export.plan import error_feedback
from export.plan.error_feedback import Grid, round_with_feedback
from export.plan.patches import input_moments


def step(size: float) -> Grid:
    return lambda values, _: torch.round(values / size) * size


def half(values: Tensor, _: int) -> Tensor:
    return values.half().double()


def correlated(groups: int, columns: int, rows: int, seed: int) -> Tensor:
    """Return (G, M, K) inputs like neighbouring pixels: nearly alike, with a mean that is not zero."""
    generator = torch.Generator().manual_seed(seed)
    shared = 2 + torch.randn(groups, rows, 1, generator=generator, dtype=torch.float64)
    return shared + 0.1 * torch.randn(groups, rows, columns, generator=generator, dtype=torch.float64)


def zero_sum(groups: int, outputs: int, columns: int, seed: int) -> Tensor:
    weights = torch.randn(groups, outputs, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return weights - weights.mean(dim=2, keepdim=True)


def output_error(difference: Tensor, moments: Tensor) -> Tensor:
    """Return (G, O) E|Δw·x|²."""
    return ((difference @ moments) * difference).sum(dim=2)


@given(
    groups=st.integers(1, 3),
    columns=st.integers(8, 49),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from((0.01, 0.1, 0.5)),
)
def test_rounding_on_the_grid_has_a_smaller_output_error_than_to_nearest(
    groups: int, columns: int, seed: int, size: float
) -> None:
    """In the mean over filters; a single one may be lucky."""
    outputs = 32
    weights, x = zero_sum(groups, outputs, columns, seed), correlated(groups, columns, 200, seed + 1)
    moments = input_moments(x)
    rounded = round_with_feedback(weights, moments, step(size))
    steps, nearest = rounded / size, torch.round(weights / size) * size
    assert torch.allclose(steps, torch.round(steps), rtol=0, atol=1e-9)
    feedback, plain = (float(output_error(w - weights, moments).mean()) for w in (rounded, nearest))
    assert feedback < plain / 3


def test_without_correlation_weights_are_rounded_to_nearest() -> None:
    weights = zero_sum(1, 32, 49, 0)
    assert torch.equal(round_with_feedback(weights, torch.eye(49, dtype=torch.float64)[None], half), half(weights, 0))


@pytest.mark.parametrize("block", [1, 40, 1000])
def test_the_size_of_a_block_does_not_matter(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, moments = zero_sum(2, 8, 100, 3), input_moments(correlated(2, 100, 400, 4))
    expected = round_with_feedback(weights, moments, step(0.1))
    monkeypatch.setattr(error_feedback, "BLOCK", block)
    assert torch.equal(round_with_feedback(weights, moments, step(0.1)), expected)


def test_a_grid_gets_the_index_of_its_column() -> None:
    """The bias, the last column, has its own grid; columns are not rounded in their order."""
    weights, moments = zero_sum(1, 4, 10, 7), input_moments(correlated(1, 10, 100, 8))
    columns: list[int] = []

    def grid(values: Tensor, column: int) -> Tensor:
        columns.append(column)
        return values if column == 9 else torch.round(values / 0.1) * 0.1

    rounded = round_with_feedback(weights, moments, grid)
    assert sorted(columns) == list(range(10))
    assert columns != sorted(columns)
    steps = rounded / 0.1
    assert torch.allclose(steps[..., :9], torch.round(steps[..., :9]), rtol=0, atol=1e-9)
    assert not torch.allclose(steps[..., 9], torch.round(steps[..., 9]), rtol=0, atol=1e-3)


@pytest.mark.parametrize("dead", ["one input", "all inputs", "weights too"])
def test_inputs_that_are_always_zero_are_rounded_to_numbers(dead: str) -> None:
    weights, x = zero_sum(2, 4, 12, 9), correlated(2, 12, 100, 10)
    x[:, :, 3 if dead == "one input" else slice(None)] = 0
    if dead == "weights too":
        weights = torch.zeros_like(weights)
    rounded = round_with_feedback(weights, input_moments(x), half)
    assert torch.isfinite(rounded).all()
    assert torch.equal(rounded, rounded.half().double())
    assert (rounded[:, :, 3] - weights[:, :, 3]).abs().max() <= 2**-11 * weights[:, :, 3].abs().max()
