"""Train the demo checkpoint: ``python -m demo.train --steps 2940``.

Interrupt it when you like; the same command goes on where it stopped.
"""

import argparse
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from demo.command import run, shared_cores
from demo.cores import SharedCores
from demo.data import training_batch
from demo.release import release
from demo.training import Losses, Plan, Trainer, learning_rate
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
    """Ctrl-C, or a request to end, is heard after the step at hand; a second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self.asked = False

    def listen(self) -> None:
        """From now on."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


def train(
    trainer: Trainer,
    state_file: Path,
    stop: Stop,
    show: Show,
    seconds: float = 0.0,
    cores: SharedCores | None = None,
) -> float:
    """Take the plan's remaining steps, or those until ``stop`` is asked; the state lies in ``state_file`` then.

    Returns:
        seconds of training since the first step, given those before this call.
    """
    plan = trainer.plan
    recent: deque[Losses] = deque(maxlen=50)
    started, first = time.perf_counter(), trainer.step
    while trainer.step < plan.steps and not stop.asked:
        recent.append(trainer.take_step(training_batch(trainer.step, plan.batch, trainer.architecture)))
        if cores is not None:
            cores.adjust()
        elapsed = time.perf_counter() - started
        if trainer.step % SHOW_EVERY == 0:
            show(progress_line(trainer, list(recent), elapsed / (trainer.step - first)))
        if trainer.step % SAVE_EVERY == 0:
            save_state(trainer, state_file, seconds + elapsed)
    seconds += time.perf_counter() - started
    save_state(trainer, state_file, seconds)
    return seconds


def progress_line(trainer: Trainer, recent: list[Losses], seconds_each: float) -> str:
    """Where the training is, how well it does, and how long it will take."""
    left = round((trainer.plan.steps - trainer.step) * seconds_each)
    xy = sum(loss.xy_bins for loss in recent) / len(recent)
    z = sum(loss.z_bins for loss in recent) / len(recent)
    threads = torch.get_num_threads()
    return (
        f"step {trainer.step}/{trainer.plan.steps}  x, y {xy:.3f} bins  z {z:.3f} bins  "
        f"{seconds_each:.2f} s a step on {threads} of {os.cpu_count()} cores  {left // 60}:{left % 60:02d} min left"
    )


def save_state(trainer: Trainer, path: Path, seconds: float) -> None:
    """Write what is needed to go on, whole or not at all."""
    content = {"plan": asdict(trainer.plan), "seconds": seconds, "state": trainer.state()}
    with whole_file(path) as partial:
        torch.save(content, partial)


def load_state(trainer: Trainer, path: Path) -> float:
    """Take up what ``save_state`` wrote; the seconds of training so far, 0 where there is no file.

    Raises:
        BadInput: the file was written under a plan that prescribed something else for the steps done.
    """
    if not path.exists():
        return 0.0
    content: dict[str, Any] = torch.load(path, weights_only=True)
    step, plan = content["state"]["step"], Plan(**content["plan"])
    if not same_until(step, plan, trainer.plan):
        raise BadInput(
            f"{path} holds another training",
            f"{step} steps of {plan}",
            "name another file with --state, or remove this one; only the number of steps and the cool-down may change "
            "on the way, and only before the cool-down begins",
        )
    trainer.take_up(content["state"])
    return float(content["seconds"])


def same_until(step: int, one: Plan, other: Plan) -> bool:
    """Whether two plans prescribe the same for all steps before number ``step``."""
    return replace(one, steps=other.steps, cooldown=other.cooldown) == other and all(
        learning_rate(k, one) == learning_rate(k, other) for k in range(step)
    )


def show_on_stderr(line: str) -> None:
    """One line that is written over on a terminal; one line after another elsewhere."""
    print(line, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=__doc__)
    parser.add_argument("--model", default=MODEL, help="another declared model, or a .yaml file")
    parser.add_argument("--steps", type=int, default=2940)
    parser.add_argument("--state", type=Path, help=f"where the training is laid down; else in {STATE_FOLDER}")
    parser.add_argument(
        "--threads", type=int, help="use always so many, for the same bits again; else fewer while others compute"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="where the checkpoint and its record go")
    options = parser.parse_args()
    cores = shared_cores(options)
    stop = Stop()
    stop.listen()
    config = load_config(options.model)
    trainer = Trainer(config.architecture, Plan(steps=options.steps))
    state = options.state or STATE_FOLDER / f"{config.name}.pt"
    seconds = load_state(trainer, state)
    seconds = train(trainer, state, stop, show_on_stderr, seconds, cores)
    if trainer.step < options.steps:
        print(f"\nstopped after step {trainer.step}; the same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    print("\nfinding the norms' statistics and the errors on held-out figures", file=sys.stderr)
    accuracy = release(trainer, seconds, options.out, config.name)
    print(
        f"{options.out}/{config.name}-demo.pth: {accuracy.mpjpe_mm:.1f} mm MPJPE on {accuracy.figures} held-out figures"
    )
    return 0


if __name__ == "__main__":
    run(main)
