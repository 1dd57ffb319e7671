"""The latency table of an export: it shows what its rounds allow, and says when that is nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.exported import read_export
from bench.latency_table import measure, table_of
from bench.session import Session
from tests.bench_quick import children
from tests.bench_results import A, B, session

EQUAL = {A.id: [20.0] * 8, B.id: [10.0] * 8}
NOISY = list(10 * np.random.default_rng(0).lognormal(0, 0.5, 8))


def test_a_quiet_machine_has_both_latencies_and_a_speed_up() -> None:
    table = table_of(session(EQUAL), A, B)
    assert table.reason is None
    assert [row.latency_ms for row in table.rows] == [20, 10]
    assert table.rows[0].speed_up is None
    assert table.rows[1].speed_up == pytest.approx(2)


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (session(EQUAL | {B.id: NOISY}), "too busy"),
        (session({name: taken[:5] for name, taken in EQUAL.items()}), "too few"),
        (session(EQUAL | {B.id: []}, faults=["parity fail: 7 mm"]), "parity fail: 7 mm"),
        (session(EQUAL | {B.id: []}, not_possible="no module"), "no module"),
    ],
)
def test_what_is_not_known_has_a_reason_and_no_figure(of: Session, reason: str) -> None:
    table = table_of(of, A, B)
    assert reason in str(table.reason)
    for row in table.rows:
        assert (row.latency_ms, row.speed_up, row.speed_up_low, row.speed_up_high) == (None,) * 4


def test_an_interrupt_is_no_result(demo_export: Path) -> None:
    def interrupted(text: str, share: float | None = None) -> Any:
        if text == "round 1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(read_export(demo_export), "fp32", interrupted)
    assert children() == []
