"""Backends for tests of the harness: small, quick, and broken in every way in which runtimes break."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness.job import HOST_E2E, Samples
from bench.harness.remote import WorkerLost
from bench.sessions.protocol import Joints
from export.common.errors import NotPossible


class Sleeper:
    """Takes a known time; its joints depend on the image."""

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
    """Breaks at its n-th run."""

    def __init__(self, how: str, at: int) -> None:
        super().__init__()
        self.how, self.at = how, at

    def run(self, images: Any) -> Joints:
        joints = super().run(images)
        if self.runs < self.at:
            return joints
        if self.how == "crash":
            os.write(2, b"a last word\n")
            os.abort()
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "exit":
            os._exit(7)
        if self.how == "hang":
            time.sleep(600)
        if self.how == "raise":
            raise RuntimeError("no kernel for this\nand a long story")
        if self.how == "memory":
            bytearray(1 << 62)  # Python itself refuses
        return np.full_like(joints, np.nan) if self.how == "nan" else joints + 1


class Recompiling(Sleeper):
    """Says after measuring that it has recompiled."""

    def facts(self) -> dict[str, Any]:
        return {"problems": ["2 compiled graphs, not one"] if self.runs > 40 else []}


def missing() -> Sleeper:
    raise NotPossible("sleeper is not installed", "no module", "install it")


class FakeClock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """A contender whose latencies are scripted, one a round; it moves the clock, and may be lost."""

    def __init__(self, clock: FakeClock, latencies_ms: Any, *, lost_in: int | None = None) -> None:
        self.clock, self.latencies_ms, self.lost_in, self.visits = clock, latencies_ms, lost_in, 0

    def visit(self, iterations: int) -> Samples:
        if self.visits == self.lost_in:
            raise WorkerLost("gone")
        latency = float(self.latencies_ms[self.visits % len(self.latencies_ms)])
        self.visits += 1
        self.clock.now += iterations * latency / 1e3
        return {HOST_E2E: [latency] * iterations}


def write_inputs(folder: Path, count: int = 4) -> Path:
    """(count, 8, 8, 3) pixels, all images different."""
    path = folder / "inputs.npy"
    np.save(path, np.arange(count * 8 * 8 * 3, dtype=np.uint8).reshape(count, 8, 8, 3))
    return path
