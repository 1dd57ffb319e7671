"""One benchmark: launches that time all workloads side by side, then the passes; no worker is left behind.

A launch starts all workers afresh, checks their parity, warms them up, times them in rounds, and reads facts again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness.measurements import Measurements
from bench.harness.passes import PASSES, cold_starts, profile
from bench.harness.rounds import Plan, RunBlock, run_rounds
from bench.harness.settings import CheckParity, Settings, Timeouts
from bench.harness.worker_process import WorkerLost, WorkerProcess, end_all
from bench.harness.workload import Samples, Workload
from bench.stats.steadiness import WarmUp
from export.common.progress import Progress, no_progress
from export.common.temporary import temporary_folder
from export.runtime.host import TEMPORARY_PREFIX


def measure_workloads(
    workloads: Sequence[Workload],
    reference: str,
    images: NDArray[np.uint8],
    check_parity: CheckParity,
    settings: Settings,
    *,
    sensors: Callable[[], Mapping[str, Any]] = dict,
    progress: Progress = no_progress,
) -> Measurements:
    """Measure all workloads side by side.

    Args:
        workloads: with the reference and its control, each under a name of its own.
        reference: name of the workload that all others are compared with.
        images: (N, S, S, 3) RGB pixels; one image a call, in turn.
        check_parity: decides from a workload's joints whether it may be timed.
        settings: parameters of the benchmark.
        sensors: read between rounds.
        progress: called at each step.

    Returns:
        The measurements; after Ctrl-C those until then. No worker is left.
    """
    with temporary_folder(TEMPORARY_PREFIX) as folder:
        launcher = Launcher(workloads, reference, images, check_parity, settings, sensors, progress, folder)
        measurements = launcher.measurements
        try:
            launcher.run_launches()
            if measurements.complete:
                launcher.run_passes()
        except KeyboardInterrupt:
            measurements.interrupted = True
        finally:
            end_all(launcher.workers)
    return measurements


class Launcher:
    """The workers of a benchmark, launch after launch, and the measurements so far."""

    def __init__(
        self,
        workloads: Sequence[Workload],
        reference: str,
        images: NDArray[np.uint8],
        check_parity: CheckParity,
        settings: Settings,
        sensors: Callable[[], Mapping[str, Any]],
        progress: Progress,
        folder: Path,
    ) -> None:
        """Write the inputs into ``folder``; for the other arguments see ``measure_workloads``."""
        self.workloads, self.settings, self._folder = workloads, settings, folder
        self.measurements = Measurements.empty(workloads, settings.launches)
        self.workers: dict[str, WorkerProcess] = {}
        """Running workers by name."""
        self._reference, self._check_parity, self._sensors = reference, check_parity, sensors
        self._parity_images = min(len(images), settings.parity_images)
        self._report_progress = progress
        self._prefix = ""
        """Prefix of messages and faults: which of several launches this is."""
        self._inputs = folder / "inputs.npy"
        np.save(self._inputs, images)

    def progress(self, text: str, share: float | None = None) -> None:
        """Report what is done now; see ``Progress``."""
        self._report_progress(self._prefix + text, share)

    def start_worker(self, workload: Workload) -> WorkerProcess:
        """Return a fresh worker process, which has loaded nothing yet."""
        return WorkerProcess(workload, self._inputs, self.settings.worker_environment, self._folder)

    def run_launches(self) -> None:
        """Run the planned launches, as long as there is something to compare; keep the last one's workers."""
        count = self.settings.launches
        for launch in range(count):
            end_all(self.workers)  # those of the launch before
            self.measurements.rounds.stop = None  # the end of one launch is not the end of the benchmark
            self._prefix = f"launch {launch + 1} of {count}: " if count > 1 else ""
            self._run_launch(launch)
            usable = [name for name in self.workers if self.measurements.records[name].is_usable]
            if self.measurements.rounds.interrupted or self._reference not in usable or len(usable) < 2:
                break
        self._prefix = ""

    def run_passes(self) -> None:
        """Run each pass for all workloads, in the workers that were timed last; then start them afresh."""
        settings, records = self.settings, self.measurements.records
        workloads = [w for w in self.workloads if w.name in self.workers and not w.is_control]
        workloads = [w for w in workloads if records[w.name].is_usable]
        for title, run in PASSES.items():
            for workload in workloads:
                self.progress(f"{title} of {workload.name}")
                run(workload, records[workload.name], self.workers[workload.name], settings)
        for workload in workloads if settings.cold_starts > 1 else ():
            self.progress(f"starting {workload.name} afresh")
            cold_starts(workload, records[workload.name], settings, self.start_worker)
        if settings.profile:
            end_all(self.workers)
            for workload in workloads:
                self.progress(f"profiling {workload.name}")
                profile(workload, records[workload.name], settings, self.start_worker)

    def _run_launch(self, launch: int) -> None:
        """Start, check and time all workloads without a fault."""
        records, rounds = self.measurements.records, self.measurements.rounds
        for workload in self.workloads:
            if records[workload.name].is_usable:
                self.progress(f"loading {workload.name}")
                self._start(workload, first=launch == 0)
        latencies_ms: dict[str, float] = {}
        for name in list(self.workers):
            self.progress(f"warming up {name}")
            self._warm_up(name, latencies_ms)
        if self._reference in self.workers:
            settings = self.settings
            plan = Plan(
                self._reference, settings.rule, settings.seed, launch, settings.launches, decide=settings.decide
            )
            runners: dict[str, RunBlock] = {
                name: partial(_run_block, worker, latencies_ms[name], settings.timeouts)
                for name, worker in self.workers.items()
            }
            run_rounds(
                runners,
                latencies_ms,
                plan,
                clock=time.monotonic,
                earlier=rounds,
                sensors=self._sensors,
                progress=self.progress,
            )
        for name in self.workers.keys() & rounds.lost.keys():
            self._add_fault(name, rounds.lost[name])
            self.workers.pop(name).end()
        for name in self.workers:
            self._read_back(name)

    def _add_fault(self, name: str, fault: str) -> None:
        faults = self.measurements.records[name].faults
        if self._prefix + fault not in faults:
            faults.append(self._prefix + fault)

    def _start(self, workload: Workload, *, first: bool) -> None:
        """Start the worker, load the model, check its parity; end the worker if it may not be timed."""
        name, settings = workload.name, self.settings
        record = self.measurements.records[name]
        worker = self.workers[name] = self.start_worker(workload)
        try:
            loaded = worker.call("load", timeout_s=settings.load_timeout_s(workload))
            if record.loaded is None:
                record.loaded = loaded
            else:
                record.cold.append(loaded)
            for problem in loaded.facts.get("problems", []):
                self._add_fault(name, problem)
            expected_s = 20 * self._parity_images * loaded.first_ms / 1e3
            joints = worker.call("joints", self._parity_images, timeout_s=settings.timeouts.answer_s + expected_s)
            record.parity = self._check_parity(workload, joints)
            if record.parity["outcome"] != "pass":
                self._add_fault(name, f"parity {record.parity['outcome']}: {record.parity['reason']}")
            record.overhead_ns = worker.call("overhead_ns", timeout_s=settings.timeouts.answer_s)
        except WorkerLost as loss:
            if loss.possible or not first:
                self._add_fault(name, str(loss))
            else:
                record.not_possible = str(loss)
        if record.is_usable:
            worker.pause()
        else:
            self.workers.pop(name).end()

    def _warm_up(self, name: str, latencies_ms: dict[str, float]) -> None:
        rule, record = self.settings.warm_up, self.measurements.records[name]
        timeout_s = self.settings.timeouts.answer_s + 10 * rule.cap_s
        try:
            with self.workers[name].running():
                warm_up: WarmUp = self.workers[name].call("warm_up", rule, timeout_s=timeout_s)
        except WorkerLost as loss:
            self._add_fault(name, f"while warming up: {loss}")
            self.workers.pop(name).end()
            return
        latencies_ms[name] = warm_up.windows_ms[-1]
        record.warm_up = max(filter(None, (record.warm_up, warm_up)), key=lambda w: (w.state != "steady", w.seconds))

    def _read_back(self, name: str) -> None:
        """Read facts and memory again: the session may have recompiled, or fallen back, while it was timed."""
        worker, record, timeouts = self.workers[name], self.measurements.records[name], self.settings.timeouts
        try:
            with worker.running():
                facts = worker.call("facts", timeout_s=timeouts.load_s)
                memory: Mapping[str, float] = worker.call("memory", timeout_s=timeouts.answer_s)
        except WorkerLost as loss:
            self._add_fault(name, f"after measuring: {loss}")
            return
        for problem in facts.get("problems", []):
            self._add_fault(name, problem)
        if not record.memory_mib or memory["peak"] > record.memory_mib["peak"]:
            record.memory_mib = memory


def _run_block(worker: WorkerProcess, latency_ms: float, timeouts: Timeouts, iterations: int) -> Samples:
    """Run one block in a worker that is paused before and after."""
    expected_s = 20 * latency_ms / 1e3 * (iterations + 4)
    with worker.running():
        samples: Samples = worker.call("run_block", iterations, timeout_s=timeouts.answer_s + expected_s)
    return samples
