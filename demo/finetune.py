"""Train the demo checkpoint for another number of upsamplings: ``python -m demo.finetune --upsamplings 1 --out DIR``.

The tensors keep their shapes, so training starts from all of them. The file does not show its number of upsamplings;
``convnextpose inspect --images`` must find it.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from demo.command import run, set_threads
from demo.release import averaged_network, settle_norms, write_checkpoint
from demo.train import MODEL, OUT, SHOW_EVERY, progress_line, show_on_stderr
from demo.training import Losses, Plan, Trainer, training_batch
from export.checkpoint.loading import read_checkpoint
from export.common.files import require_writable
from export.model.architecture import HEAD_LAYERS, Architecture
from export.model.config import load_config
from export.model.network import build_network

START = OUT / f"{MODEL}-demo.pth"
RECENT = 20
"""Steps in the mean that progress shows."""


def finetuning_plan(steps: int, batch: int) -> Plan:
    """Return a short plan for trained weights: a low rate that falls in the second half, and a short average."""
    return Plan(steps=steps, batch=batch, rate=7e-4, warmup_steps=20, cooldown=0.5, average=0.98)


def start_from(checkpoint: Path, architecture: Architecture, plan: Plan) -> Trainer:
    """Return a trainer that starts from the tensors in ``checkpoint``.

    Raises:
        BadInput: the file is unreadable, or its tensors do not fit.
    """
    trainer = Trainer(architecture, plan)
    network = build_network(architecture, read_checkpoint(checkpoint).tensors)
    trainer.network.load_state_dict(network.state_dict())
    trainer.averaged = {name: p.detach().clone() for name, p in trainer.network.named_parameters()}
    return trainer


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m demo.finetune", description=__doc__)
    parser.add_argument("--upsamplings", type=int, choices=range(HEAD_LAYERS + 1), required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, help="number of threads of torch")
    parser.add_argument("--start", type=Path, default=START, help="the checkpoint to start from")
    parser.add_argument("--out", type=Path, required=True, help="folder for the new checkpoint")
    options = parser.parse_args()
    set_threads(options.threads)
    require_writable(options.out)
    architecture = replace(load_config(MODEL).architecture, upsamplings=options.upsamplings)
    trainer = start_from(options.start, architecture, finetuning_plan(options.steps, options.batch))
    losses: list[Losses] = []
    started = time.perf_counter()
    while trainer.step < options.steps:
        losses.append(trainer.take_step(training_batch(trainer.step, options.batch, architecture)))
        if trainer.step % SHOW_EVERY == 0:
            show_on_stderr(progress_line(trainer, losses[-RECENT:], (time.perf_counter() - started) / trainer.step))
    network = averaged_network(trainer)
    settle_norms(network, options.batch)
    path = options.out / f"{MODEL}-demo-{options.upsamplings}.pth"
    write_checkpoint(network, path, epoch=trainer.step)
    print(f"\n{path}: {options.upsamplings} upsamplings, {trainer.step} steps", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run(main)
