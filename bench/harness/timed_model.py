"""The timed session of a worker process with its inputs; its methods are the calls that the coordinator makes."""

import importlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness.workload import DEVICE, HOST_E2E, HOST_NOCOPY, Loaded, Samples, Workload
from bench.machine.system import clock_mhz, memory_mib
from bench.passes.layer_times import Profile, take_profile
from bench.passes.timing import UNRECORDED_S, settle, time_runs
from bench.sessions.protocol import Accountable, Bindable, Concurrent, Limited, Pinning, SelfTiming, Session
from bench.stats.steadiness import WarmUp, WarmUpRule, Window, state
from export.runtime.pose import normalise

GPU_UNRECORDED_S = 0.1
"""An idle GPU lowers its clock, and takes longer to raise it again."""
GPU_WARM_UP_S = 1.0


class NotFinite(Exception):
    """Joints that are not finite."""


class TimedModel:
    """A session with its inputs."""

    def __init__(self, workload: Workload, inputs: Path) -> None:
        """Keep the workload and the path of its inputs, a .npy of (N, S, S, 3) uint8 RGB."""
        self._workload, self._inputs_file = workload, inputs
        self._session: Session
        self._inputs: list[Any] = []
        self._blocks = 0
        self._bound: list[Callable[[], object]] = []

    def load(self) -> Loaded:
        """Import, load and run once; return times and facts."""
        started = time.perf_counter()
        self._import()
        imported = time.perf_counter()
        self._session = self._workload.open()
        loaded = time.perf_counter()
        self._prepare()
        (first,) = time_runs([lambda: checked(self._session.run(self._inputs[0]))], 1)
        boundaries = [HOST_E2E]
        if isinstance(self._session, SelfTiming):
            boundaries.append(DEVICE)
        if self._workload.nocopy and isinstance(self._session, Bindable):
            self._bound = [self._session.bind(images) for images in self._inputs]
            boundaries.append(HOST_NOCOPY)
        return Loaded(
            import_s=imported - started,
            load_s=loaded - imported,
            first_ms=first,
            description=self._session.describe(),
            facts=self.facts(),
            boundaries=tuple(boundaries),
        )

    def joints(self, count: int) -> Any:
        """Return (count, J, 3) joints of the first inputs, from the session that is timed afterwards.

        Raises:
            NotFinite: some joint is not a number.
        """
        return np.concatenate([checked(self._session.run(images)) for images in self._inputs[:count]])

    def warm_up(self, rule: WarmUpRule) -> WarmUp:
        """Run until ``bench.stats.steadiness`` finds a steady state, or gives up."""
        windows: list[Window] = []
        clock: Callable[[], float | None] = clock_mhz
        if self._workload.gpu:
            from bench.machine.gpu_sensors import sm_clock_mhz as clock

            rule = replace(rule, minimum_s=max(rule.minimum_s, GPU_WARM_UP_S))
        started = time.perf_counter()
        runs = self._runs()
        while True:
            window_start = time.perf_counter()
            latencies_ms: list[float] = []
            while len(latencies_ms) < rule.window_iterations or time.perf_counter() - window_start < rule.window_s:
                latencies_ms += time_runs(runs, 1, start=len(latencies_ms))
                if len(latencies_ms) >= 3 and time.perf_counter() - started > rule.cap_s:
                    break
            windows.append(Window(median(latencies_ms), clock()))
            elapsed = time.perf_counter() - started
            now = state(windows, elapsed, rule)
            if now != "warming":
                medians_ms = [window.median_ms for window in windows]
                return WarmUp(state=now, seconds=elapsed, windows_ms=medians_ms)

    def run_block(self, iterations: int) -> Samples:
        """Return ``iterations`` latencies at each boundary, after some that are not recorded.

        Raises:
            NotFinite: the output of one more run is not a number; each block checks another image.
        """
        samples: Samples = {}
        runs = self._runs()
        settle(runs, seconds=GPU_UNRECORDED_S if self._workload.gpu else UNRECORDED_S)
        if isinstance(self._session, SelfTiming):
            device_ms, read = list[float](), self._session.device_ms
            samples[HOST_E2E] = time_runs(runs, iterations, after=lambda: device_ms.append(read()))
            samples[DEVICE] = device_ms
        else:
            samples[HOST_E2E] = time_runs(runs, iterations)
        if self._bound:
            samples[HOST_NOCOPY] = time_runs(self._bound, iterations)
        checked(self._session.run(self._inputs[self._blocks % len(self._inputs)]))
        self._blocks += 1
        return samples

    def facts(self) -> Mapping[str, Any]:
        """Return the session's facts now; they may change while it is measured, by a recompilation.

        They are plain data: torch's version is a string class of its own, for which the coordinator would import torch.
        """
        facts = self._session.facts() if isinstance(self._session, Accountable) else {}
        plain: Mapping[str, Any] = json.loads(json.dumps(facts))
        return plain

    def memory(self) -> Mapping[str, float]:
        """Return resident memory in MiB, now and at its peak."""
        return memory_mib()

    def overhead_ns(self, iterations: int = 2000) -> float:
        """Return the overhead of the timing loop per iteration: its median around an empty function."""
        return median(time_runs([lambda: None], iterations)) * 1e6

    def keep_going(self, seconds: float) -> tuple[int, float]:
        """Run one image after the other for so long; return the number of runs and their actual duration."""
        runs, count = self._runs(), 0
        began = time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            runs[count % len(runs)]()
            count += 1
        return count, elapsed

    def image_to_joints(self, seconds: float) -> Mapping[str, float | None]:
        """Run the pass of ``bench.passes.image_to_joints``, for about so long."""
        from bench.passes.image_to_joints import measure_image_to_joints

        assert self._workload.predict is not None
        return measure_image_to_joints(partial(self._workload.predict, self._session), seconds)

    def throughput(self, seconds: float) -> list[Mapping[str, float]]:
        """Return the points of ``bench.passes.throughput.sweep``, each measured for ``seconds``."""
        from bench.passes.throughput import ClosedLoop, sweep

        concurrent = isinstance(self._session, Concurrent)
        largest = self._session.largest_batch if isinstance(self._session, Limited) else None
        return list(sweep(ClosedLoop(self._session, self._inputs, seconds), concurrent=concurrent, largest=largest))

    def profile(self, warm_up: int, runs: int) -> Profile:
        """Take a profile (``bench.passes.layer_times``) instead of ``load``, in a worker that does nothing else."""
        self._import()
        self._session = self._workload.open()
        self._prepare()
        return take_profile(self._session, self._inputs, warm_up, runs)

    def _import(self) -> None:
        for module in self._workload.modules:
            importlib.import_module(module)

    def _prepare(self) -> None:
        self._inputs = one_by_one(np.load(self._inputs_file), takes_pixels=self._session.takes_pixels)
        if isinstance(self._session, Pinning):
            self._inputs = [self._session.pinned(images) for images in self._inputs]

    def _runs(self) -> list[Callable[[], object]]:
        return [partial(self._session.run, images) for images in self._inputs]


def one_by_one(images: NDArray[np.uint8], *, takes_pixels: bool) -> list[NDArray[Any]]:
    """Return (N, S, S, 3) pixels as N inputs of one image each, in the format that a session takes."""
    singles = [images[index : index + 1] for index in range(len(images))]
    return [np.ascontiguousarray(single if takes_pixels else normalise(single)) for single in singles]


def checked(joints: Any) -> Any:
    """Return the joints.

    Raises:
        NotFinite: one is not a number.
    """
    if not np.isfinite(joints).all():
        raise NotFinite("the joints are not finite")
    return joints
