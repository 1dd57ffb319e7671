"""The tables of docs/checkpoints.md: made from real runs, and the fine-tuning that they rest on."""

from dataclasses import replace

import pytest
import torch

from demo.finetune import finetuning_plan, start_from
from demo.training import training_batch
from demo.upsampling_pairs import known_checkpoint
from export.checkpoint.loading import read_checkpoint
from export.common.errors import BadInput
from export.model.config import load_config
from tests.export.checkpoint.upsampling.test_evidence import ONCE, once


@pytest.mark.parametrize("argument", ["4=x.pth", "x.pth", "1=", "one=x.pth"])
def test_a_checkpoint_without_its_count_is_refused(argument: str) -> None:
    with pytest.raises(BadInput, match="named with its count"):
        known_checkpoint(argument, figures=8)


def test_fine_tuning_starts_from_the_file_and_goes_on_from_there() -> None:
    architecture = replace(once()[0], upsamplings=0)
    trainer = start_from(ONCE, architecture, finetuning_plan(steps=1, batch=1))
    start = {name: tensor.float() for name, tensor in read_checkpoint(ONCE).tensors.items()}
    for name, parameter in trainer.network.named_parameters():
        assert torch.equal(parameter, start[name])
        assert torch.equal(trainer.averaged[name], start[name])
    trainer.take_step(training_batch(0, 2, architecture))
    assert not torch.equal(trainer.network.head.final_layer.weight, start["head.final_layer.weight"])


def test_fine_tuning_refuses_another_network() -> None:
    with pytest.raises(BadInput, match="do not fit"):
        start_from(ONCE, load_config("XS-atto").architecture, finetuning_plan(steps=1, batch=1))
