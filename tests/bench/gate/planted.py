"""Measurements of one cell with planted defects."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.gate.compare import BASELINE, CANDIDATE, CONTROL
from bench.harness.measurements import Measurements, WorkloadRecord
from bench.harness.rounds import Block, Rounds
from bench.harness.workload import HOST_E2E, Loaded


def samples(rounds: int, each: int, *, late: float = 1.5, seed: int = 0) -> list[Any]:
    """Return latencies around 10 ms of which one in thirty is ``late`` times as long."""
    rng = np.random.default_rng(seed)
    latencies_ms = rng.normal(10, 0.05, (rounds, each))
    latencies_ms[rng.random((rounds, each)) < 1 / 30] *= late
    return list(latencies_ms)


def executed(nodes: int = 116, **convolutions: int) -> Mapping[str, Any]:
    return {"nodes": nodes, "convolutions": convolutions or {"fp32": 47}}


def measured_pair(
    facts: Mapping[str, Any] = {}, *, load_s: float = 0.5, late: float = 1.5, peak_mib: float = 100
) -> Measurements:
    """Return 30 rounds of 40 samples; the arguments are the candidate's."""
    blocks, records = {}, {}
    for seed, name in enumerate((BASELINE, CONTROL, CANDIDATE)):
        planted = name == CANDIDATE
        rounds_ms = samples(30, 40, late=late if planted else 1.5, seed=seed)
        blocks[name] = [Block(index, 0, {HOST_E2E: list(values)}) for index, values in enumerate(rounds_ms)]
        all_facts = {"device": "CPU", "executed": executed(), **(facts if planted else {})}
        loaded = Loaded(1, load_s if planted else 0.5, 20, "described", all_facts, (HOST_E2E,))
        records[name] = WorkloadRecord(loaded=loaded, memory_mib={"peak": peak_mib if planted else 100})
    quiet: Mapping[str, Any] = {"steal_ticks": None, "total_ticks": None, "gpus": []}
    return Measurements(records, Rounds(blocks, completed=30, sensors=[quiet, quiet]))
