"""Train the demo checkpoint: ``python -m demo.train --steps 2940``.

You can interrupt it; the same command continues.
"""

import argparse
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from demo.command import run, set_threads
from demo.release import release
from demo.training import Losses, Plan, Trainer, training_batch
from export.common.errors import BadInput
from export.common.files import whole_file
from export.model.config import load_config

MODEL = "XS-atto"
STATE_FOLDER = Path("build/demo")
OUT = Path("demo")
SAVE_EVERY = 100
SHOW_EVERY = 10
INTERRUPTED = 130

Show = Callable[[str], None]


class Stop:
    """Handler of Ctrl-C and SIGTERM: training stops after the current step; a second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self.requested = False

    def listen(self) -> None:
        """Install the signal handlers."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


def train(trainer: Trainer, state_file: Path, stop: Stop, show: Show, seconds: float = 0.0) -> float:
    """Train until the plan ends or ``stop`` is requested, and save the state to ``state_file``.

    Returns:
        seconds of training since the first step, including ``seconds`` before this call.
    """
    plan = trainer.plan
    recent: deque[Losses] = deque(maxlen=50)
    started, first = time.perf_counter(), trainer.step
    while trainer.step < plan.steps and not stop.requested:
        recent.append(trainer.take_step(training_batch(trainer.step, plan.batch, trainer.architecture)))
        elapsed = time.perf_counter() - started
        if trainer.step % SHOW_EVERY == 0:
            show(progress_line(trainer, list(recent), elapsed / (trainer.step - first)))
        if trainer.step % SAVE_EVERY == 0:
            save_state(trainer, state_file, seconds + elapsed)
    seconds += time.perf_counter() - started
    save_state(trainer, state_file, seconds)
    return seconds


def progress_line(trainer: Trainer, recent: list[Losses], seconds_each: float) -> str:
    """Format step, losses, speed and remaining time."""
    left = round((trainer.plan.steps - trainer.step) * seconds_each)
    xy = sum(loss.xy_bins for loss in recent) / len(recent)
    z = sum(loss.z_bins for loss in recent) / len(recent)
    threads = torch.get_num_threads()
    return (
        f"step {trainer.step}/{trainer.plan.steps}  x, y {xy:.3f} bins  z {z:.3f} bins  "
        f"{seconds_each:.2f} s a step on {threads} of {os.cpu_count()} cores  {left // 60}:{left % 60:02d} min left"
    )


def save_state(trainer: Trainer, path: Path, seconds: float) -> None:
    """Save the training state atomically."""
    content = {"plan": asdict(trainer.plan), "seconds": seconds, "state": trainer.state()}
    with whole_file(path) as partial:
        torch.save(content, partial)


def load_state(trainer: Trainer, path: Path) -> float:
    """Restore a saved state; return the seconds of training so far, 0 without a file.

    Raises:
        BadInput: the file belongs to another plan.
    """
    if not path.exists():
        return 0.0
    content: dict[str, Any] = torch.load(path, weights_only=True)
    plan = Plan(**content["plan"])
    if plan != trainer.plan:
        raise BadInput(f"{path} belongs to another training", str(plan), "name another file with --state, or remove it")
    trainer.restore(content["state"])
    return float(content["seconds"])


def show_on_stderr(line: str) -> None:
    """Print a line to stderr; a terminal overwrites the last one."""
    print(line, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=__doc__)
    parser.add_argument("--model", default=MODEL, help="another declared model, or a .yaml file")
    parser.add_argument("--steps", type=int, default=2940)
    parser.add_argument("--state", type=Path, help=f"file for the training state (default: in {STATE_FOLDER})")
    parser.add_argument("--threads", type=int, help="number of threads of torch; the same number gives the same bits")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the checkpoint and its record")
    options = parser.parse_args()
    set_threads(options.threads)
    stop = Stop()
    stop.listen()
    config = load_config(options.model)
    trainer = Trainer(config.architecture, Plan(steps=options.steps))
    state = options.state or STATE_FOLDER / f"{config.name}.pt"
    seconds = load_state(trainer, state)
    seconds = train(trainer, state, stop, show_on_stderr, seconds)
    if trainer.step < options.steps:
        print(f"\nstopped after step {trainer.step}; the same command continues", file=sys.stderr)
        return INTERRUPTED
    print("\nmeasuring norm statistics and accuracy on held-out figures", file=sys.stderr)
    accuracy = release(trainer, seconds, options.out, config.name)
    print(
        f"{options.out}/{config.name}-demo.pth: {accuracy.mpjpe_mm:.1f} mm MPJPE on {accuracy.figures} held-out figures"
    )
    return 0


if __name__ == "__main__":
    run(main)
