"""Sessions for tests of the harness: small, quick, and broken in every way in which runtimes break.

A worker imports the module of its session, so these lie here and not in tests, which import torch: 3 s for each worker.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness.worker_process import WorkerLost
from bench.harness.workload import HOST_E2E, Samples
from bench.sessions.protocol import Joints, LayerTime, Profiler
from export.common.errors import CheckFailed, NotPossible


class Sleeper:
    """A session that takes a known time; its joints depend on the image."""

    runtime, precision, takes_pixels = "sleeper", "fp32", True

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.runs = seconds, 0

    def run(self, images: Any) -> Joints:
        self.runs += 1
        until = time.perf_counter() + self.seconds
        while time.perf_counter() < until:
            pass
        mean = images.reshape(len(images), -1).mean(axis=1)
        return np.broadcast_to(mean[:, None, None], (len(images), 18, 3)).astype(np.float32)

    def describe(self) -> str:
        return f"sleeps {self.seconds} s"

    def close(self) -> None:
        pass


class Broken(Sleeper):
    """A session that breaks at its n-th run."""

    def __init__(self, defect: str, at: int) -> None:
        super().__init__()
        self.defect, self.at = defect, at

    def run(self, images: Any) -> Joints:
        joints = super().run(images)
        if self.runs < self.at:
            return joints
        if self.defect == "crash":
            os.write(2, b"a last word\n")
            os.abort()
        if self.defect == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.defect == "exit":
            os._exit(7)
        if self.defect == "hang":
            time.sleep(600)
        if self.defect == "raise":
            raise RuntimeError("no kernel for this\nand a long story")
        if self.defect == "memory":
            bytearray(1 << 62)  # Python itself refuses
        return np.full_like(joints, np.nan) if self.defect == "nan" else joints + 1


class Recompiling(Sleeper):
    """A session that reports a recompilation after measuring."""

    def facts(self) -> dict[str, Any]:
        return {"problems": ["2 compiled graphs, not one"] if self.runs > 40 else []}


class Counted(Sleeper):
    """A session that records in which process it was opened."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        (folder / str(os.getpid())).touch()


class BrokenLater(Broken):
    """A session that breaks only in the processes after the first ``sound`` ones."""

    def __init__(self, folder: Path, sound: int, defect: str, at: int) -> None:
        super().__init__(defect, at)
        folder.mkdir(exist_ok=True)
        (folder / str(os.getpid())).touch()
        if len(list(folder.iterdir())) <= sound:
            self.at = 1 << 30


class Telling(Sleeper):
    """A sleeper with a profiler: two layers, or a defect."""

    source = "a sleeper's word"

    def __init__(self, layers: int = 2, how: str = "") -> None:
        super().__init__()
        self.count, self.broken = layers, Broken(how, 5)

    def profiler(self) -> Profiler:
        return self

    def start(self) -> None:
        pass

    def run(self, images: Any) -> Any:
        return self.broken.run(images)

    def layers(self) -> list[LayerTime]:
        return [LayerTime("head.final_layer", 1.0), LayerTime("decode", 0.5)][: self.count]


def predict_nothing(session: Any, lap: Callable[[str], None]) -> None:
    session.run(np.zeros((1, 8, 8, 3), np.uint8))
    for stage in ("crop", "network", "decode"):
        lap(stage)


def refuse(session: Any, lap: Callable[[str], None]) -> None:
    raise CheckFailed("the model computes no pose", "NaN", "do not ship it")


def missing() -> Sleeper:
    raise NotPossible("sleeper is not installed", "no module", "install it")


class FakeClock:
    """A clock that passes only when a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """Blocks with scripted latencies, one a round; they move the clock, and the worker may be lost."""

    def __init__(self, clock: FakeClock, latencies_ms: Any, *, lost_in: int | None = None) -> None:
        self.clock, self.latencies_ms, self.lost_in, self.blocks = clock, latencies_ms, lost_in, 0

    def __call__(self, iterations: int) -> Samples:
        if self.blocks == self.lost_in:
            raise WorkerLost("gone")
        latency_ms = float(self.latencies_ms[self.blocks % len(self.latencies_ms)])
        self.blocks += 1
        self.clock.now += iterations * latency_ms / 1e3
        return {HOST_E2E: [latency_ms] * iterations}


IMAGES = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
"""(4, 8, 8, 3) pixels, all images different."""


def write_inputs(folder: Path) -> Path:
    path = folder / "inputs.npy"
    np.save(path, IMAGES)
    return path
