"""A benchmark's plan and what is kept of it: who takes part, how it is run, what became of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.harness.job import Job, Loaded, WarmUp
from bench.harness.rounds import Decide
from bench.machine.energy_meters import Meter, find_meter
from bench.passes.energy import EnergyPlan
from bench.stats.steadiness import WarmUpRule
from bench.stats.stopping import StopRule

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

CONTROL = "#control"
"""Behind the reference's name: A′, its second instance."""

JudgeJoints = Callable[[str, Any], Mapping[str, Any]]
"""(contender's name, (N, J, 3) joints) → parity as plain data, with ``outcome`` and ``reason``."""


@dataclass(frozen=True)
class Timeouts:
    """How long an answer is waited for before the worker is taken for hanging."""

    load_s: float = 120.0
    compile_s: float = 600.0
    answer_s: float = 60.0
    """Beside what the work itself should take."""


@dataclass(frozen=True)
class Entrant:
    """One contender: what its worker runs."""

    name: str
    job: Job
    precision: str
    compiles: bool = False
    control: bool = False
    """Whether it is another one's second instance: that takes part in the rounds, and in no pass after them."""


@dataclass(frozen=True)
class Settings:
    """How a benchmark is run."""

    threads: int
    rule: StopRule
    warm_up: WarmUpRule
    parity_images: int = 8
    seed: int = 0
    launches: int = 1
    """How often all workers are started afresh; the rounds are divided among the launches."""
    cold_starts: int = 1
    """Fresh processes; the workers that are timed are the first of them."""
    image_s: float = 0.0
    """For the way from a photo to joints; 0 leaves it out."""
    throughput_s: float = 0.0
    """For each point of the sweep; 0 leaves throughput out."""
    energy: EnergyPlan | None = None
    find_meter: Callable[[bool], Meter] = lambda gpu: find_meter(gpu=gpu)
    """For a GPU's rows, or for a processor's."""
    decide: Decide | None = None
    """Decides in place of the rule when enough was measured."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    environment: Mapping[str, str] = field(default_factory=dict)
    """For the workers, beside the thread counts."""


@dataclass
class Entry:
    """What became of one contender, rounds apart."""

    loaded: Loaded | None = None
    parity: Mapping[str, Any] | None = None
    warm_up: WarmUp | None = None
    """Of several launches the one that did not end steady, or else the longest."""
    memory_mib: Mapping[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    not_possible: str | None = None
    overhead_ns: float | None = None
    cold: list[Loaded] = field(default_factory=list)
    """The other fresh processes."""
    image_to_joints: Mapping[str, float | None] | None = None
    image_fault: str | None = None
    throughput: list[Mapping[str, float]] | None = None
    throughput_fault: str | None = None
    energy: Mapping[str, Any] | None = None
    energy_reason: str | None = None
    """Why there is none."""


def worker_environment(settings: Settings) -> dict[str, str]:
    """What fixes the thread counts of libraries that read them when they are loaded."""
    return {name: str(settings.threads) for name in THREAD_VARIABLES} | dict(settings.environment)
