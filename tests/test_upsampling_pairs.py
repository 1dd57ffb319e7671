"""The tables of docs/checkpoints.md: made from real runs, and the fine-tuning that they rest on."""

from dataclasses import replace

import pytest
import torch

from demo.data import training_batch
from demo.finetune import finetuning_plan, started_from
from demo.upsampling_pairs import decision_row, known_checkpoint, pair_rows
from export.checkpoint import read_checkpoint
from export.config import load_config
from export.errors import BadInput
from tests.test_upsampling_evidence import ONCE, once


def test_each_count_has_its_row_and_the_trained_one_is_found() -> None:
    known = known_checkpoint(f"1={ONCE}", figures=8)
    rows = pair_rows(known)
    for row, count in zip(rows, ("0", "**1**", "2", "3"), strict=True):
        assert row.startswith(f"| once-demo, 1 | {count} |")
    assert decision_row(known) == "| once-demo, 1 | 1 / 0 / 0 | 0 / 0 / 0 | 0 / 0 / 0 |"
    assert known.mpjpe_mm[1] < min(known.mpjpe_mm[0], *known.mpjpe_mm[2:])
    mistaken = replace(known, trained=2)
    assert "| 0 / 0 / 1 |" in decision_row(mistaken)


@pytest.mark.parametrize("argument", ["4=x.pth", "x.pth", "1=", "one=x.pth"])
def test_a_checkpoint_without_its_count_is_refused(argument: str) -> None:
    with pytest.raises(BadInput, match="named with its count"):
        known_checkpoint(argument, figures=8)


def test_fine_tuning_starts_from_the_file_and_goes_on_from_there() -> None:
    architecture = replace(once()[0], upsamplings=0)
    trainer = started_from(ONCE, architecture, finetuning_plan(steps=1, batch=1))
    start = {name: tensor.float() for name, tensor in read_checkpoint(ONCE).tensors.items()}
    for name, parameter in trainer.network.named_parameters():
        assert torch.equal(parameter, start[name])
        assert torch.equal(trainer.averaged[name], start[name])
    trainer.take_step(training_batch(0, 2, architecture))
    assert not torch.equal(trainer.network.head.final_layer.weight, start["head.final_layer.weight"])


def test_fine_tuning_refuses_another_network() -> None:
    with pytest.raises(BadInput, match="do not fit"):
        started_from(ONCE, load_config("XS-atto").architecture, finetuning_plan(steps=1, batch=1))
