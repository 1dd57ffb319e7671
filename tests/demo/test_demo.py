"""The demo checkpoint: resumable training, and agreement of file and record."""

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import demo.train
from demo.accuracy import held_out_accuracy
from demo.release import averaged_network, in_half, release, settle_norms, tame_stem, write_checkpoint
from demo.train import Stop, load_state, save_state, train
from demo.training import Plan, Trainer, normalised, training_batch
from export.checkpoint.loading import read_checkpoint
from export.common.errors import BadInput, CheckFailed
from export.common.files import sha256_file
from export.images.figures import EVALUATION_SEED
from export.model.architecture import Architecture
from export.model.config import load_config
from export.model.network import ConvNeXtPose, build_network
from export.model.pose import normalise

SMALL = Architecture(
    depths=(1, 1, 1, 1),
    dims=(8, 8, 16, 16),
    head_channels=(16, 16, 16),
    head_kernels=(3, 3, 3),
    joints=18,
    depth_dim=16,
    upsamplings=1,
)
PLAN = Plan(steps=4, batch=2, warmup_steps=2)
SHIPPED = Path(demo.train.__file__).parent / "XS-atto-demo.pth"
RECORD = SHIPPED.with_suffix(".json")


@pytest.fixture(autouse=True)
def _handlers_and_threads() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    threads = torch.get_num_threads()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    torch.set_num_threads(threads)


def ignore(line: str) -> None:
    pass


def assert_same(one: Any, other: Any) -> None:
    """Equal to the last bit, all the way down."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def test_an_interrupted_training_ends_like_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.train, "SHOW_EVERY", 1)
    whole = Trainer(SMALL, PLAN)
    train(whole, tmp_path / "whole.pt", Stop(), ignore)
    assert whole.step == PLAN.steps

    stop = Stop()
    stop.listen()
    parts = Trainer(SMALL, PLAN)
    seconds = train(parts, tmp_path / "parts.pt", stop, lambda line: signal.raise_signal(signal.SIGINT))
    assert parts.step == 1

    again = Trainer(SMALL, PLAN)
    assert load_state(again, tmp_path / "parts.pt") == seconds > 0
    assert again.step == 1
    assert train(again, tmp_path / "parts.pt", Stop(), ignore, seconds) > seconds
    assert_same(again.state(), whole.state())


def test_the_first_interrupt_is_patient_and_the_second_is_not() -> None:
    stop = Stop()
    stop.listen()
    signal.raise_signal(signal.SIGINT)
    assert stop.requested
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_the_state_of_another_training_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    trainer = Trainer(SMALL, PLAN)
    trainer.step = 2
    save_state(trainer, state, 1.0)
    with pytest.raises(BadInput, match="another training"):
        load_state(Trainer(SMALL, replace(PLAN, batch=3)), state)
    assert load_state(trainer, tmp_path / "none.pt") == 0.0


def test_training_and_release_use_the_same_pixels() -> None:
    images, bins = training_batch(3, 2, SMALL)
    assert bins.shape == (2, 18, 3)
    assert normalised(images).numpy() == pytest.approx(normalise(images.numpy()), rel=1e-6)
    assert normalised(images).max() > 300


def test_the_released_layout_holds_the_same_function(tmp_path: Path) -> None:
    trainer = Trainer(SMALL, PLAN)
    trainer.take_step(training_batch(0, 2, SMALL))
    network = averaged_network(trainer)
    settle_norms(network, batch=2, batches=2)
    assert network.state_dict()["backbone.downsample_layers.0.1.running_var"].max() > 500
    images = normalised(training_batch(1, 2, SMALL)[0])
    joints = network(images)
    tamed = ConvNeXtPose(SMALL).eval()
    tamed.load_state_dict(tame_stem(network.state_dict()))
    assert torch.allclose(tamed(images), joints, atol=1e-3)

    write_checkpoint(network, tmp_path / "demo.pth", epoch=5)
    content = torch.load(tmp_path / "demo.pth", weights_only=True)
    assert content.keys() == {"epoch", "network"}
    assert set(content["network"]) == {f"module.{name}" for name in SMALL.tensor_shapes()}
    assert {tensor.dtype for tensor in content["network"].values()} == {torch.float16, torch.int64}
    checkpoint = read_checkpoint(tmp_path / "demo.pth")
    assert checkpoint.epoch == 5
    assert torch.allclose(build_network(SMALL, checkpoint.tensors)(images), joints, atol=0.05)


def test_a_release_comes_with_its_record(tmp_path: Path) -> None:
    trainer = Trainer(SMALL, PLAN)
    trainer.take_step(training_batch(0, 2, SMALL))
    found = release(trainer, 3.0, tmp_path, "small", figures=3)
    record = json.loads((tmp_path / "small-demo.json").read_text())
    assert record["held_out"]["mpjpe_mm"] == found.mpjpe_mm
    assert record["checkpoint"]["sha256"] == sha256_file(tmp_path / "small-demo.pth")
    assert record["training"]["wall_seconds_per_step"] == 3.0
    assert record["data"]["figures_seen"] == 2


@pytest.mark.parametrize(("name", "value"), [("x.weight", 7e4), ("x.weight", float("nan")), ("x.running_var", 1e-9)])
def test_what_does_not_fit_into_half_precision_is_refused(name: str, value: float) -> None:
    with pytest.raises(CheckFailed, match="FP16"):
        in_half(name, torch.tensor([1.0, value]))
    assert in_half("x.num_batches_tracked", torch.tensor(70_000)).item() == 70_000


@pytest.fixture(scope="module")
def shipped() -> ConvNeXtPose:
    return build_network(load_config("XS-atto").architecture, read_checkpoint(SHIPPED).tensors)


def test_the_shipped_checkpoint_is_the_recorded_one() -> None:
    record = json.loads(RECORD.read_text())
    assert record["schema_version"] == 1
    assert record["checkpoint"]["sha256"] == sha256_file(SHIPPED)
    assert record["checkpoint"]["size_bytes"] == SHIPPED.stat().st_size < 8_000_000
    assert record["held_out"]["seed"] == EVALUATION_SEED
    assert record["held_out"]["mpjpe_mm"] == pytest.approx(record["held_out_before_rounding_mpjpe_mm"], abs=0.5)


def test_the_shipped_checkpoint_is_as_accurate_as_recorded(shipped: ConvNeXtPose) -> None:
    recorded = json.loads(RECORD.read_text())["held_out"]["mpjpe_mm"]
    assert held_out_accuracy(shipped, 32).mpjpe_mm < 1.3 * recorded + 5
