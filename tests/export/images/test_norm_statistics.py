"""Comparison of images with BatchNorm statistics finds every planted mismatch."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export.checkpoint.loading import read_checkpoint
from export.checkpoint.verdict import judge
from export.common.errors import BadInput
from export.images.image_set import ImageSet, read_crops
from export.images.norm_statistics import (
    ENOUGH_IMAGES,
    LIMITS,
    ChannelMoments,
    ChannelStatistics,
    ImageStatistics,
    compare_statistics,
    measure_images,
    require_known,
)
from export.model.config import load_config
from export.model.network import ConvNeXtPose, build_network
from export.parity.images import parity_images
from export.plan.calibration import drawn_calibration
from tests.export.checkpoint.upsampling.test_evidence import ONCE
from tests.support.checkpoints import TINY, fresh_weights, spelled, write
from tests.support.command_line import assert_three_parts, in_process
from tests.support.drawings import SHAPES_SEED, drawn_images
from tests.support.photos import write_rgb
from tests.support.real_weights import needs_real_weights, real_calibration, real_checkpoint, real_parity

Images = NDArray[np.uint8]
Damage = Callable[[Images], Images]


def shrink(images: Images) -> Images:
    """Return each image at a quarter of its size in the middle of a grey image."""
    canvas, edge = np.full_like(images, 114), images.shape[1] // 4
    start = (images.shape[1] - edge) // 2
    canvas[:, start : start + edge, start : start + edge] = images[:, ::4, ::4]
    return canvas


def statistics(mean: float = 0.3, variance: float = 2.0, channels: int = 9) -> dict[str, ChannelStatistics]:
    """Return two norms whose channels have this mean, and variances around this one."""
    spread = variance * np.geomspace(0.5, 2, channels)
    return {name: ChannelStatistics(np.full(channels, mean), spread) for name in ("first", "second")}


def changed(**fields: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> dict[str, ChannelStatistics]:
    """Return the same statistics with a function applied to the named fields."""
    return {
        name: replace(of, **{field: change(getattr(of, field)) for field, change in fields.items()})
        for name, of in statistics().items()
    }


# ── the comparison ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_equal_statistics_are_known() -> None:
    result = compare_statistics(statistics(), statistics(), ENOUGH_IMAGES)
    assert (result.verdict, result.mean_shift, result.log_variance_ratio) == ("known", 0, 0)
    assert [(row.norm, row.channels, row.compared) for row in result.norms] == [("first", 9, 9), ("second", 9, 9)]
    require_known(result, "images")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        pytest.param("mean", lambda x: x + 0.2, id="means shifted"),
        pytest.param("variance", lambda x: x * 1.13, id="variances larger"),
        pytest.param("variance", lambda x: x / 1.13, id="variances smaller"),
        pytest.param("variance", lambda x: 0 * x, id="images without content"),
        pytest.param("variance", lambda x: x * np.nan, id="variances not a number"),
        pytest.param("mean", lambda x: x * np.nan, id="means not a number"),
        pytest.param("mean", lambda x: np.where(np.arange(len(x)) == 3, np.nan, x), id="one mean not a number"),
        pytest.param("mean", lambda x: x + np.inf, id="means infinite"),
    ],
)
def test_each_mismatch_is_unknown(field: str, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> None:
    result = compare_statistics(statistics(), changed(**{field: change}), ENOUGH_IMAGES)
    assert result.verdict == "unknown"
    assert "NaN" not in json.dumps(result.as_json())
    assert result.reason
    with pytest.raises(BadInput, match="calibration images do not match") as caught:
        require_known(result, "crops from folder x")
    assert "--calibration DIR" in caught.value.advice


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        pytest.param({}, "no BatchNorm", id="no norms"),
        pytest.param(statistics(np.nan), "first are not finite", id="not a number"),
        pytest.param(statistics(variance=-1), "a variance is negative", id="negative"),
        pytest.param(statistics(variance=0), "every running variance is zero", id="zero"),
        pytest.param(statistics(variance=1e-7), "images without any content", id="far below epsilon"),
        pytest.param(
            {"first": ChannelStatistics(np.zeros(9), np.ones(9))}, "initial statistics", id="initial statistics"
        ),
    ],
)
def test_unusable_statistics_refuse_nothing_and_say_so(stored: dict[str, ChannelStatistics], reason: str) -> None:
    result = compare_statistics(stored, statistics(), ENOUGH_IMAGES)
    assert result.verdict == "not available"
    assert reason in result.reason
    require_known(result, "images")


def test_dead_channels_are_not_compared_and_revived_ones_are() -> None:
    mostly_dead = changed(variance=lambda x: np.where(np.arange(len(x)) < 7, 0, x))
    other = changed(variance=lambda x: np.where(np.arange(len(x)) < 7, 0, 2 * x))
    result = compare_statistics(mostly_dead, other, ENOUGH_IMAGES)
    assert result.verdict == "unknown"  # seven of nine agree only because they are dead
    assert [row.compared for row in result.norms] == [2, 2]
    assert compare_statistics(mostly_dead, statistics(), ENOUGH_IMAGES).verdict == "unknown"


def test_limits_widen_for_few_images_only() -> None:
    slightly = changed(variance=lambda x: x * 1.13)
    assert compare_statistics(statistics(), slightly, ENOUGH_IMAGES).verdict == "unknown"
    assert compare_statistics(statistics(), slightly, 4 * ENOUGH_IMAGES).limits == LIMITS
    few = compare_statistics(statistics(), slightly, ENOUGH_IMAGES // 4)
    assert few.verdict == "known"
    assert few.limits.log_variance_ratio == pytest.approx(2 * LIMITS.log_variance_ratio)


@pytest.mark.parametrize("batches", [[1, 2, 3], [6], [5, 1]])
def test_moments_do_not_depend_on_the_batches(batches: list[int]) -> None:
    values = torch.randn(6, 4, 5, 5, generator=torch.Generator().manual_seed(0)) * 1e-3 + 10
    moments = ChannelMoments()
    for part in torch.split(values, batches):
        moments.add(part)
    exact = values.double()
    found = moments.statistics()
    assert moments.images == 6
    assert found.mean == pytest.approx(exact.mean(dim=(0, 2, 3)).numpy(), rel=1e-7)
    assert found.variance == pytest.approx(exact.var(dim=(0, 2, 3), correction=0).numpy(), rel=1e-3)


# ── planted mismatches of a network that was trained on drawn figures ────────────────────────────────────────────────


@cache
def network_of(path: Path, model: str) -> ConvNeXtPose:
    checkpoint = read_checkpoint(path)
    return build_network(judge(load_config(model), checkpoint, {}).architecture, checkpoint.tensors)


PLANTED: dict[str, Damage] = {
    "divided by 255": lambda images: np.rint(images / 255).astype(np.uint8),
    "noise": lambda images: np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8),
    "flat": lambda images: np.broadcast_to(images[:, :1, :1], images.shape).copy(),
    "shapes": lambda images: drawn_images(len(images), images.shape[1], SHAPES_SEED),
    "figure far too small": shrink,
    "rotated": lambda images: np.rot90(images, axes=(1, 2)).copy(),
}


def measured(network: ConvNeXtPose, images: Images) -> ImageStatistics:
    torch.set_num_threads(1)
    return measure_images(network, images)


@pytest.mark.parametrize("draw", [parity_images, drawn_calibration])
def test_figures_are_known_to_a_network_trained_on_them(draw: Callable[[int], ImageSet]) -> None:
    result = measured(network_of(ONCE, "tests/data/once.yaml"), draw(256).images)
    assert (result.verdict, result.images) == ("known", 64), result.reason


@pytest.mark.parametrize("damage", PLANTED)
def test_planted_images_are_unknown(damage: str) -> None:
    planted = PLANTED[damage](parity_images(256).images[::2])
    result = measured(network_of(ONCE, "tests/data/once.yaml"), planted)
    assert result.verdict == "unknown", result.reason


# ── through the commands ─────────────────────────────────────────────────────────────────────────────────────────────


EXPORT_ONCE = (ONCE.with_name("once.yaml"), "--checkpoint", ONCE)


def folder_of(folder: Path, images: Images) -> Path:
    folder.mkdir()
    for index, image in enumerate(images):
        write_rgb(folder / f"{index:03}.png", image)
    return folder


def test_parity_on_unknown_images_is_inconclusive(once_export: Path, tmp_path: Path) -> None:
    shutil.copytree(once_export, tmp_path / "build/once")
    crops = folder_of(tmp_path / "crops", PLANTED["rotated"](parity_images(256).images))
    run = in_process(
        "export", *EXPORT_ONCE, "--precision", "fp32,int8", "--set", "upsamplings=1", "--images", crops, cwd=tmp_path
    )
    assert_three_parts(run, 3)
    assert "BatchNorm statistics" in run.stderr
    assert "--images DIR" in run.stderr
    manifest = json.loads((tmp_path / "build/once/manifest.json").read_text())
    parity = json.loads((tmp_path / "build/once/parity/fp32.json").read_text())
    assert parity["outcome"] == parity["status"] == "inconclusive"
    assert {run["status"] for run in parity["runs"]} == {"inconclusive"}
    plan = json.loads((tmp_path / "build/once/plan/int8.json").read_text())
    assert plan["aim"] == "usable"
    assert not any("parity images" in line for line in plan["search"])
    summary = manifest["parity"][0]["images"]["statistics"]
    assert summary == parity["images"]["statistics"]
    assert (summary["verdict"], summary["images"]) == ("unknown", 64)
    rows = json.loads((tmp_path / "build/once" / summary["every_norm"]).read_text())["norms"]
    assert len(rows) == len(
        [n for n in network_of(ONCE, "tests/data/once.yaml").state_dict() if n.endswith("running_var")]
    )


def test_unknown_calibration_images_are_refused(tmp_path: Path) -> None:
    shapes = folder_of(tmp_path / "shapes", drawn_images(64, 256, SHAPES_SEED))
    run = in_process("export", *EXPORT_ONCE, "--precision", "int8", "--calibration", shapes, cwd=tmp_path)
    assert_three_parts(run, 2)
    assert "calibration images" in run.stderr
    assert "--calibration DIR" in run.stderr
    assert not (tmp_path / "build/once/plan").exists()


def test_stand_in_weights_are_not_refused(tiny_copy: Path) -> None:
    shapes = folder_of(tiny_copy / "shapes", drawn_images(64, 256, SHAPES_SEED))
    run = in_process("export", "tiny.yaml", "--images", shapes, "--verbose", cwd=tiny_copy)
    assert run.returncode == 0, run.stderr
    parity = json.loads((tiny_copy / "build/tiny/parity/fp32.json").read_text())
    assert (parity["outcome"], parity["images"]["statistics"]["verdict"]) == ("pass", "unknown")
    assert "images unknown" in run.stdout


def test_inspect_reports_the_images(tmp_path: Path) -> None:
    crops = folder_of(tmp_path / "crops", parity_images(256).images[:16])

    def inspect(path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
        run = in_process("inspect", path, "--images", crops, *arguments, cwd=tmp_path)
        assert (run.returncode, run.stderr) == (0, "")
        return run

    once = json.loads(inspect(ONCE, "--set", "upsamplings=1", "--json").stdout)["image_statistics"]
    assert (once["verdict"], once["images"], once["schema_version"]) == ("known", 16, "1.0")
    assert {"norm", "channels", "compared", "mean_shift", "log_variance_ratio"} == once["norms"][0].keys()
    fresh = inspect(write(tmp_path / "fresh.pth", spelled(fresh_weights(TINY))))
    assert "not available" in fresh.stdout


# ── beside the project: photographs, and nearly real weights ─────────────────────────────────────────────────────────


@needs_real_weights
def test_photographs_are_known_to_the_network_trained_on_them() -> None:
    network = network_of(real_checkpoint(), "XS-atto")
    for folder in (real_parity(), real_calibration()):
        result = measured(network, read_crops(folder, 256, 16, 16).images)
        assert result.verdict == "known", result.reason


@needs_real_weights
def test_other_images_are_unknown_to_the_network_trained_on_photographs() -> None:
    network = network_of(real_checkpoint(), "XS-atto")
    photographs = read_crops(real_parity(), 256, 64, 64).images
    for damage in ("divided by 255", "noise", "flat", "figure far too small"):
        assert measured(network, PLANTED[damage](photographs)).verdict == "unknown", damage
    assert measured(network, parity_images(256).images[::4]).verdict == "known"  # near enough to judge and calibrate on
    demo = network_of(ONCE, "tests/data/once.yaml")
    assert measured(demo, photographs).verdict == "unknown"
