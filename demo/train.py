"""Train the demo checkpoint: ``python -m demo.train --steps 2940``."""

import argparse
import sys
import time
from pathlib import Path

import cv2
import torch

from demo.command import run
from demo.release import release
from demo.training import Plan, Trainer, training_batch
from export.common.files import require_writable
from export.model.config import load_config

MODEL = "XS-atto"
OUT = Path("demo")
SHOW_EVERY = 10


def train(trainer: Trainer) -> float:
    """Train until the plan ends, and print progress; return the seconds that it took."""
    plan, started = trainer.plan, time.perf_counter()
    while trainer.step < plan.steps:
        loss = trainer.take_step(training_batch(trainer.step, plan.batch, trainer.architecture))
        if trainer.step % SHOW_EVERY == 0:
            seconds = time.perf_counter() - started
            print(f"step {trainer.step}/{plan.steps}  loss {loss:.3f}  {seconds:.0f} s", file=sys.stderr, flush=True)
    return time.perf_counter() - started


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=__doc__)
    parser.add_argument("--model", default=MODEL, help="another declared model, or a .yaml file")
    parser.add_argument("--steps", type=int, default=2940)
    parser.add_argument("--threads", type=int, help="number of threads of torch; the same number gives the same bits")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the checkpoint and its record")
    options = parser.parse_args()
    cv2.setNumThreads(1)  # its operations here are small
    if options.threads:
        torch.set_num_threads(options.threads)
    config = load_config(options.model)
    require_writable(options.out)
    trainer = Trainer(config.architecture, Plan(steps=options.steps))
    seconds = train(trainer)
    print("measuring norm statistics and accuracy on held-out figures", file=sys.stderr)
    accuracy = release(trainer, seconds, options.out, config.name)
    path = options.out / f"{config.name}-demo.pth"
    print(f"{path}: {accuracy.mpjpe_mm:.1f} mm MPJPE on {accuracy.figures} held-out figures")


if __name__ == "__main__":
    run(main)
