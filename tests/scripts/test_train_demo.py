"""The demo checkpoint: training, and agreement of file and record."""

import json
from pathlib import Path

import pytest
import torch

from export.checkpoint.loading import read_checkpoint
from export.common.errors import CheckFailed
from export.common.files import PROJECT, sha256_file
from export.images.figures import EVALUATION_SEED
from export.model.architecture import Architecture
from export.model.config import load_config
from export.model.network import ConvNeXtPose, build_network
from export.runtime.pose import normalise
from scripts import train_demo
from scripts.train_demo import (
    Plan,
    Trainer,
    averaged_network,
    held_out_mpjpe,
    in_half,
    normalised,
    release,
    settle_norms,
    tame_stem,
    train,
    training_batch,
    write_checkpoint,
)

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
SHIPPED = PROJECT / "demo/XS-atto-demo.pth"
RECORD = SHIPPED.with_suffix(".json")


def test_a_training_ends_with_its_plan_and_repeats() -> None:
    first, second = Trainer(SMALL, PLAN), Trainer(SMALL, PLAN)
    assert train(first) > 0
    train(second)
    assert first.step == PLAN.steps
    assert all(torch.equal(tensor, second.averaged[name]) for name, tensor in first.averaged.items())


def test_a_folder_that_cannot_be_written_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("sys.argv", ["train", "--out", str(tmp_path / "file/folder")])
    monkeypatch.setattr(train_demo, "train", lambda _: pytest.fail("it trains"))
    assert train_demo.main() == 2
    assert capsys.readouterr().err.startswith("error: ")


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
    mpjpe_mm = release(trainer, 3.0, tmp_path, "small", figures=3)
    record = json.loads((tmp_path / "small-demo.json").read_text())
    assert record["held_out"]["mpjpe_mm"] == mpjpe_mm
    assert record["checkpoint"]["sha256"] == sha256_file(tmp_path / "small-demo.pth")
    assert record["training"]["wall_seconds"] == 3


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
    assert held_out_mpjpe(shipped, 32) < 1.3 * recorded + 5
