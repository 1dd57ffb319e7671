"""Measurements of one benchmark: the rounds, and one record per workload."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.harness.rounds import Rounds
from bench.harness.workload import Loaded, Workload
from bench.passes.layer_times import Profile
from bench.stats.steadiness import WarmUp


@dataclass
class WorkloadRecord:
    """Measurements and faults of one workload, apart from its rounds."""

    loaded: Loaded | None = None
    parity: Mapping[str, Any] | None = None
    warm_up: WarmUp | None = None
    """With several launches: the one that did not become steady, or else the longest."""
    memory_mib: Mapping[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    not_possible: str | None = None
    """Reason why this machine cannot run the workload."""
    overhead_ns: float | None = None
    cold: list[Loaded] = field(default_factory=list)
    """Loads in the other fresh processes."""
    image_to_joints: Mapping[str, float | None] | None = None
    image_fault: str | None = None
    throughput: list[Mapping[str, float]] | None = None
    throughput_fault: str | None = None
    energy: Mapping[str, Any] | None = None
    energy_reason: str | None = None
    """Reason why there is no energy."""
    profile: Profile | None = None
    profile_reason: str | None = None

    @property
    def is_usable(self) -> bool:
        """True if the workload can run and has no fault so far."""
        return not self.faults and self.not_possible is None


@dataclass
class Measurements:
    """All measurements of one benchmark."""

    records: dict[str, WorkloadRecord]
    rounds: Rounds
    launches: int = 1
    """Planned launches; Ctrl-C may end the benchmark earlier."""
    interrupted: bool = False

    @classmethod
    def empty(cls, workloads: Sequence[Workload], launches: int) -> "Measurements":
        """Return measurements with nothing measured yet."""
        names = [workload.name for workload in workloads]
        return cls({name: WorkloadRecord() for name in names}, Rounds({name: [] for name in names}), launches)

    @property
    def complete(self) -> bool:
        """True if the benchmark was not interrupted."""
        return not self.interrupted and not self.rounds.interrupted
