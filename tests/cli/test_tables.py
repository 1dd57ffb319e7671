"""Every table by precision speaks of all precisions, and of no others."""

import pytest

from bench.sessions.openvino import COMPUTES
from export.common.interface import HALVES, PRECISIONS
from export.graph import precision
from export.graph import type_proof as typed
from export.parity import budgets, trace
from export.parity import sessions as parity_sessions
from export.runtime import engine_network


@pytest.mark.parametrize(
    "table",
    [
        *(budgets.TARGET_GRADE, budgets.REQUIRED_GRADE, parity_sessions.PARITY_RUNTIMES),
        *(typed.BODY, typed.OPSETS, typed.LARGEST_SHARE, engine_network.BODY_TYPE, COMPUTES),
    ],
)
def test_a_table_is_whole(table: dict[str, object]) -> None:
    assert table.keys() == set(PRECISIONS)


def test_all_but_the_reference_is_traced() -> None:
    assert trace.EXPECTED.keys() == set(PRECISIONS) - {"fp32"}


def test_types_of_the_body_are_those_of_the_halves() -> None:
    assert precision.HALF.keys() == set(HALVES)
    assert precision.BODY.keys() == set(PRECISIONS) - {"fp32"}
