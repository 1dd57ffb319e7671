"""The process in which one backend is loaded, judged and timed. ``bench.remote`` starts it and asks it.

Nothing heavy is imported here: the environment that fixes thread counts must be read by what is imported later.
"""

import ctypes
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from bench.backends.protocol import (
    Accountable,
    Backend,
    Bindable,
    Concurrent,
    Limited,
    Pinning,
    SelfTiming,
)
from bench.layer_times import Profile, take_profile
from bench.steadiness import State, WarmUpRule, Window, state
from export.errors import NotPossible

HOST_E2E, HOST_NOCOPY, DEVICE = "host_e2e", "host_nocopy", "device"
"""``host_e2e``: wall clock around the call, NumPy to NumPy. ``host_nocopy``: the same on memory bound beforehand.
``device``: by the runtime's own clock."""

UNRECORDED_ITERATIONS, UNRECORDED_S = 3, 0.02
"""At the beginning of each visit, both at least: caches and clocks come back."""
GPU_UNRECORDED_S = 0.1
"""A GPU that has rested lowers its clock, and takes longer to raise it again."""
GPU_WARM_UP_S = 1.0

INTERRUPTS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What asks the whole run to end, and is the coordinator's alone to deal with."""
PR_SET_PDEATHSIG = 1

Samples = dict[str, list[float]]
"""Boundary → latencies in ms."""

Predict = Callable[[Backend, Callable[[str], None]], object]
"""(backend, who is told each stage's end) → joints in a photo; see ``bench.image_to_joints``."""


@dataclass(frozen=True)
class Job:
    """What a worker is to run. It travels to the worker as a pickle of this program's own."""

    open: Callable[[], Backend]
    inputs: Path
    """A .npy of (N, S, S, 3) uint8 RGB, shown in turn, one at a time."""
    modules: tuple[str, ...] = ()
    """What to import before loading, so that the two can be told apart."""
    nocopy: bool = False
    gpu: bool = False
    """Whether it computes on a GPU: then it is warmed up longer, by the GPU's clock."""
    predict: Predict | None = None
    """From a photo to joints in its pixels, where that is wanted."""


@dataclass(frozen=True)
class Loaded:
    """How long it took until the first result, and what it took."""

    import_s: float
    load_s: float
    first_ms: float
    description: str
    facts: Mapping[str, Any]
    memory_mib: Mapping[str, float]
    boundaries: tuple[str, ...]


@dataclass(frozen=True)
class WarmUp:
    """How warming up went."""

    state: State
    seconds: float
    latency_ms: float
    windows_ms: tuple[float, ...] = field(default=())


class NotFinite(Exception):
    """The backend's joints are not numbers."""


class Subject:
    """A backend with its inputs, inside the worker."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._backend: Backend
        self._inputs: list[Any] = []
        self._visits = 0
        self._bound: list[Callable[[], object]] = []

    def load(self) -> Loaded:
        """Import, load, run once; then ask the backend what it is."""
        started = time.perf_counter()
        self._import()
        imported = time.perf_counter()
        import numpy as np

        memory = {"after_import": memory_mib()["now"]}
        loading = time.perf_counter()
        self._backend = self._job.open()
        loaded = time.perf_counter()
        memory["peak_after_load"] = memory_mib()["peak"]
        self._prepare(np.load(self._job.inputs))
        (first,) = self._timed([self._first_run], 1)
        memory["peak_after_first"] = memory_mib()["peak"]
        boundaries = [HOST_E2E]
        if isinstance(self._backend, SelfTiming):
            boundaries.append(DEVICE)
        if self._job.nocopy and isinstance(self._backend, Bindable):
            self._bound = [self._backend.bind(images) for images in self._inputs]
            boundaries.append(HOST_NOCOPY)
        return Loaded(
            import_s=imported - started,
            load_s=loaded - loading,
            first_ms=first,
            description=self._backend.describe(),
            facts=self.facts(),
            memory_mib=memory,
            boundaries=tuple(boundaries),
        )

    def joints(self, count: int) -> Any:
        """(count, J, 3) of the first inputs, from the session that is timed afterwards.

        Raises:
            NotFinite: some joint is not a number.
        """
        import numpy as np

        return np.concatenate([self._checked(self._backend.run(images)) for images in self._inputs[:count]])

    def warm_up(self, rule: WarmUpRule) -> WarmUp:
        """Run until ``bench.steadiness`` says that it is steady, or that it never will be."""
        windows: list[Window] = []
        clock = clock_mhz
        if self._job.gpu:
            from bench.gpu_sensors import sm_clock_mhz as clock

            rule = replace(rule, minimum_s=max(rule.minimum_s, GPU_WARM_UP_S))
        started = time.perf_counter()
        run = self._runs()
        while True:
            began = time.perf_counter()
            taken: list[float] = []
            while len(taken) < rule.window_iterations or time.perf_counter() - began < rule.window_s:
                taken += self._timed(run, 1, start=len(taken))
                if len(taken) >= 3 and time.perf_counter() - started > rule.cap_s:
                    break
            windows.append(Window(median(taken), clock()))
            elapsed = time.perf_counter() - started
            now = state(windows, elapsed, rule)
            if now != "warming":
                medians = tuple(window.median_ms for window in windows)
                return WarmUp(now, elapsed, medians[-1], medians)

    def visit(self, iterations: int) -> Samples:
        """``iterations`` latencies at each boundary, after some that are not recorded.

        Raises:
            NotFinite: what came out of one run more is not a number; each visit looks at another image.
        """
        samples: Samples = {HOST_E2E: []}
        runs = self._runs()
        settle(runs, seconds=GPU_UNRECORDED_S if self._job.gpu else UNRECORDED_S)
        if isinstance(self._backend, SelfTiming):
            own: list[float] = []
            ask = self._backend.device_ms
            samples[HOST_E2E] = self._timed(runs, iterations, after=lambda: own.append(ask()))
            samples[DEVICE] = own
        else:
            samples[HOST_E2E] = self._timed(runs, iterations)
        if self._bound:
            samples[HOST_NOCOPY] = self._timed(self._bound, iterations)
        self._checked(self._backend.run(self._inputs[self._visits % len(self._inputs)]))
        self._visits += 1
        return samples

    def facts(self) -> Mapping[str, Any]:
        """What the backend says of itself now; after measuring too, since it may have recompiled.

        As plain data: torch's version is a string of a class of its own, for which the coordinator would import torch.
        """
        facts = self._backend.facts() if isinstance(self._backend, Accountable) else {}
        plain: Mapping[str, Any] = json.loads(json.dumps(facts))
        return plain

    def memory(self) -> Mapping[str, float]:
        """MiB now and at the peak."""
        return memory_mib()

    def overhead_ns(self, iterations: int = 2000) -> float:
        """What the timing loop itself adds to an iteration: its median around a function that does nothing."""
        return median(self._timed([lambda: None], iterations)) * 1e6

    def keep_going(self, seconds: float) -> tuple[int, float]:
        """Run for so long, one image after the other; how many runs that were, and how long it really took."""
        runs, count = self._runs(), 0
        began = time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            runs[count % len(runs)]()
            count += 1
        return count, elapsed

    def image_to_joints(self, seconds: float) -> Mapping[str, float | None]:
        """See ``bench.image_to_joints``, for about so long."""
        from bench.image_to_joints import measure_image_to_joints

        assert self._job.predict is not None
        return measure_image_to_joints(partial(self._job.predict, self._backend), seconds)

    def throughput(self, seconds: float) -> list[Mapping[str, float]]:
        """The points of ``bench.throughput.sweep``, each measured for ``seconds``."""
        from bench.throughput import ClosedLoop, sweep

        concurrent = isinstance(self._backend, Concurrent)
        largest = self._backend.largest_batch if isinstance(self._backend, Limited) else None
        return list(sweep(ClosedLoop(self._backend, self._inputs, seconds), concurrent=concurrent, largest=largest))

    def profile(self, warm_up: int, runs: int) -> Profile:
        """See ``bench.layer_times``; in place of ``load``, in a worker that does nothing else."""
        self._import()
        import numpy as np

        self._backend = self._job.open()
        self._prepare(np.load(self._job.inputs))
        return take_profile(self._backend, self._inputs, self._timed, warm_up, runs)

    def peaks(self, threads: int) -> list[dict[str, Any]]:
        """See ``bench.peak``."""
        from bench.peak import measure_peaks

        return measure_peaks(threads)

    def _import(self) -> None:
        import importlib

        for module in self._job.modules:
            importlib.import_module(module)

    def _prepare(self, images: Any) -> None:
        self._inputs = one_by_one(images, takes_pixels=self._backend.takes_pixels)
        if isinstance(self._backend, Pinning):
            self._inputs = [self._backend.pinned(images) for images in self._inputs]

    def _first_run(self) -> None:
        self._checked(self._backend.run(self._inputs[0]))

    def _runs(self) -> list[Callable[[], object]]:
        run = self._backend.run
        return [lambda images=images: run(images) for images in self._inputs]  # type: ignore[misc]

    @staticmethod
    def _checked(joints: Any) -> Any:
        import numpy as np

        if not np.isfinite(joints).all():
            raise NotFinite("the joints are not finite")
        return joints

    @staticmethod
    def _timed(
        runs: Sequence[Callable[[], object]], iterations: int, start: int = 0, after: Callable[[], None] | None = None
    ) -> list[float]:
        """Latencies in ms of ``runs`` in turn, without garbage collection; ``after`` is called in between, untimed."""
        taken, clock, count = [0] * iterations, time.perf_counter_ns, len(runs)
        collecting = gc.isenabled()
        gc.disable()
        try:
            for index in range(iterations):
                run = runs[(start + index) % count]
                started = clock()
                run()
                taken[index] = clock() - started
                if after is not None:
                    after()
        finally:
            if collecting:
                gc.enable()
        return [nanoseconds / 1e6 for nanoseconds in taken]


def settle(runs: Sequence[Callable[[], object]], seconds: float = UNRECORDED_S) -> None:
    """What precedes every timed block: some runs that are not recorded."""
    began, unrecorded = time.perf_counter(), 0
    while unrecorded < UNRECORDED_ITERATIONS or time.perf_counter() - began < seconds:
        runs[unrecorded % len(runs)]()
        unrecorded += 1


def one_by_one(images: Any, *, takes_pixels: bool) -> list[Any]:
    """(N, S, S, 3) pixels → N inputs of one image each, as a backend takes them."""
    import numpy as np

    from export.pose import normalise

    singles = [images[index : index + 1] for index in range(len(images))]
    return [np.ascontiguousarray(single if takes_pixels else normalise(single)) for single in singles]


def serve(connection: Connection, job: Job, log: Path, coordinator: int) -> None:
    """Answer requests ``(number, method, arguments)`` until there are no more; what the process is started with."""
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    leave_group()
    die_with_parent(coordinator)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    subject = Subject(job)
    while True:
        try:
            number, method, arguments = connection.recv()
        except EOFError:
            return
        connection.send((number, *_answer(subject, method, arguments)))


def _answer(subject: Subject, method: str, arguments: Sequence[Any]) -> tuple[str, Any]:
    """``ok`` with what the method returns, or in a word and a line why there is nothing."""
    try:
        return "ok", getattr(subject, method)(*arguments)
    except NotPossible as failure:
        return "not possible", f"{failure.what}: {failure.seen}"
    except MemoryError:
        return "failed", "out of memory"
    except NotFinite as failure:
        return "failed", str(failure)
    except Exception as failure:  # whatever a runtime throws becomes a row with its reason
        return "failed", _in_a_line(failure)


def leave_group() -> None:
    """Make this process a group of its own, where there are groups.

    A worker is stopped most of the time. Were it one of its coordinator's group, then whoever started that in the
    background would end the run by leaving: a group that nobody waits for any more, and in which a process is
    stopped, is sent SIGHUP as a whole (POSIX.1-2017, ``_exit``).
    """
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process, stopped or not, when its parent ends. Linux only; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before that
            os._exit(1)


def memory_mib() -> dict[str, float]:
    """Resident memory now and at its peak, in MiB, as the kernel counts it; empty where it does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return {"now": float("nan"), "peak": float("nan")}
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return {"now": kib["VmRSS"] / 1024, "peak": kib["VmHWM"] / 1024}


def clock_mhz() -> float | None:
    """The first core's clock, where the kernel tells it."""
    try:
        return int(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return None


def _in_a_line(failure: Exception) -> str:
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return f"{type(failure).__name__}: {lines[0] if lines else 'no message'}"[:300]
