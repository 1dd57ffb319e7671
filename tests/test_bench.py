"""Timing side by side: who took turns, and how often."""

from functools import partial

import numpy as np
import pytest

from bench.interleaved import take_turns
from export.deploy import deploy
from export.network import build_network
from export.onnx_graph import export_onnx
from export.runtime.onnx_runtime import open_session, session_options
from tests.checkpoints import TINY, alive_weights


def test_everyone_takes_a_turn_in_every_round_in_changing_order() -> None:
    calls: list[str] = []
    timings = take_turns({name: partial(calls.append, name) for name in "abc"}, rounds=8, iterations=3)
    turns = [calls[i] for i in range(0, len(calls), 4)]
    assert calls == [name for name in turns for _ in range(4)]  # one untimed call and three timed ones
    rounds = [tuple(turns[i : i + 3]) for i in range(0, len(turns), 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(rounds)) > 1
    assert all(np.shape(timings[name].samples_ms) == (8, 3) for name in "abc")


def test_the_order_is_reproducible() -> None:
    orders = []
    for _ in range(2):
        calls: list[str] = []
        take_turns({name: partial(calls.append, name) for name in "abcd"}, rounds=5, iterations=1)
        orders.append(calls)
    assert orders[0] == orders[1]


def test_a_session_has_the_threads_that_were_asked_for_and_runs_on_the_cpu(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("bench") / "tiny.onnx"
    export_onnx(deploy(build_network(TINY, alive_weights())), path, {})
    session = open_session(path, session_options(1))
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert session.get_session_options().intra_op_num_threads == 1
    assert session.run(None, {"image": np.zeros((1, 3, 256, 256), np.float32)})[0].shape == (1, 18, 3)
