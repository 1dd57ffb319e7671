"""Advice of an inconclusive comparison."""

import pytest

from bench.gate.decision import Cell, Comparison
from cli.render.compare import require_pass
from export.common.errors import Inconclusive


@pytest.mark.parametrize(
    ("rounds", "advice"),
    [
        (9, "raise --budget"),
        (40, "raise --budget, or measure on a quieter machine"),
        (160, "measure on a quieter machine"),
        (0, "measure on a quieter machine"),
    ],
)
def test_too_little_time_is_told_from_noise(rounds: int, advice: str) -> None:
    cell = Cell("openvino/fp32", "INCONCLUSIVE", ("why",), None, 0.03, None, rounds)
    with pytest.raises(Inconclusive) as caught:
        require_pass(Comparison("paired", "INCONCLUSIVE", (cell,)))
    assert caught.value.advice == advice
