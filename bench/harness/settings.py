"""Settings of a benchmark's workers, rounds and passes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.harness.rounds import Decide
from bench.harness.workload import Workload
from bench.machine.energy_meters import Meter, find_meter
from bench.passes.energy import EnergyPlan
from bench.stats.steadiness import WarmUpRule
from bench.stats.stopping import StopRule

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

CheckParity = Callable[[Workload, Any], Mapping[str, Any]]
"""(workload, its (N, J, 3) joints) → parity as plain data, with ``outcome`` and ``reason``."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for an answer; a worker that exceeds them is killed."""

    load_s: float = 120.0
    compile_s: float = 600.0
    answer_s: float = 60.0
    """Added to the expected duration of the work itself."""


@dataclass(frozen=True)
class Settings:
    """Parameters of a benchmark."""

    threads: int
    rule: StopRule
    warm_up: WarmUpRule
    parity_images: int = 8
    seed: int = 0
    launches: int = 1
    """Number of times all workers are started afresh; the rounds are divided among the launches."""
    cold_starts: int = 1
    """Number of fresh processes per workload; the timed workers are the first of them."""
    image_s: float = 0.0
    """Seconds for the pass from a photo to joints; 0 leaves it out."""
    throughput_s: float = 0.0
    """Seconds for each point of the throughput sweep; 0 leaves it out."""
    profile: bool = False
    energy: EnergyPlan | None = None
    find_meter: Callable[[bool], Meter] = lambda gpu: find_meter(gpu=gpu)
    """Function from "runs on a GPU" to an energy meter."""
    decide: Decide | None = None
    """Stop decision that replaces the rule."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables for the workers, beside the thread counts."""

    @property
    def worker_environment(self) -> dict[str, str]:
        """Variables for the workers, thread counts included: libraries read those when they are loaded."""
        return {name: str(self.threads) for name in THREAD_VARIABLES} | dict(self.environment)

    def load_timeout_s(self, workload: Workload) -> float:
        """Return the seconds to wait until a workload is loaded."""
        return self.timeouts.compile_s if workload.compiles else self.timeouts.load_s
