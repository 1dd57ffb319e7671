"""Train the demo checkpoint for another number of upsamplings: ``python -m demo.finetune --upsamplings 1 --out DIR``.

The tensors keep their shapes, so all of them are where the new training starts. What comes out is the same network
but for a number that its file does not show, which ``convnextpose inspect --images`` is to find.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from demo.command import run, shared_cores
from demo.data import training_batch
from demo.release import averaged_network, settle_norms, write_checkpoint
from demo.train import MODEL, OUT, SHOW_EVERY, progress_line, show_on_stderr
from demo.training import Losses, Plan, Trainer
from export.checkpoint.loading import read_checkpoint
from export.common.files import require_writable
from export.model.architecture import HEAD_LAYERS, Architecture
from export.model.config import load_config
from export.model.network import build_network

START = OUT / f"{MODEL}-demo.pth"
RECENT = 20
"""Steps over which the progress shown is a mean."""


def finetuning_plan(steps: int, batch: int) -> Plan:
    """A short training from good weights: a low rate that falls for half of the time, a short memory in the average."""
    return Plan(steps=steps, batch=batch, rate=7e-4, warmup_steps=20, cooldown=0.5, average=0.98)


def started_from(checkpoint: Path, architecture: Architecture, plan: Plan) -> Trainer:
    """A training whose first step starts from the tensors in ``checkpoint``.

    Raises:
        BadInput: the file cannot be read, or holds another network.
    """
    trainer = Trainer(architecture, plan)
    network = build_network(architecture, read_checkpoint(checkpoint).tensors)
    trainer.network.load_state_dict(network.state_dict())
    trainer.averaged = {name: p.detach().clone() for name, p in trainer.network.named_parameters()}
    return trainer


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m demo.finetune", description=__doc__)
    parser.add_argument("--upsamplings", type=int, choices=range(HEAD_LAYERS + 1), required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, help="use always so many; else fewer while others compute")
    parser.add_argument("--start", type=Path, default=START, help="the checkpoint to go on from")
    parser.add_argument("--out", type=Path, required=True, help="the folder where the checkpoint goes")
    options = parser.parse_args()
    cores = shared_cores(options)
    require_writable(options.out)
    architecture = replace(load_config(MODEL).architecture, upsamplings=options.upsamplings)
    trainer = started_from(options.start, architecture, finetuning_plan(options.steps, options.batch))
    losses: list[Losses] = []
    started = time.perf_counter()
    while trainer.step < options.steps:
        losses.append(trainer.take_step(training_batch(trainer.step, options.batch, architecture)))
        if cores is not None:
            cores.adjust()
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
