"""``inspect --images``: said plainly, as JSON too, and refused only where it must be."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.export.checkpoint.upsampling.test_evidence import ONCE, figures
from tests.support.command_line import ROOT, assert_three_parts, in_process

Here = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that was trained with one doubling, a declaration that does not say so, and images."""
    place = tmp_path_factory.mktemp("place")
    shutil.copy(ONCE, place / "once.pth")
    declaration = ONCE.with_name("once.yaml").read_text()
    (place / "by-rule.yaml").write_text(declaration.replace("upsamplings: 1\n", ""))
    (place / "figures").mkdir()
    (place / "noise").mkdir()
    rng = np.random.default_rng(0)
    for k, image in enumerate(figures(8)):
        assert cv2.imwrite(str(place / f"figures/{k}.png"), image[:, :, ::-1])
        assert cv2.imwrite(str(place / f"noise/{k}.png"), rng.integers(0, 256, (256, 256, 3), dtype=np.uint8))
    (place / "figures/99.jpg").write_text("no image")
    return place


@pytest.fixture
def here(place: Path) -> Here:
    return lambda *arguments: in_process("inspect", "once.pth", *arguments, cwd=place)


def test_images_confirm_what_was_set(here: Here) -> None:
    run = here("--model", "by-rule.yaml", "--images", "figures", "--set", "upsamplings=1")
    assert (run.returncode, run.stderr) == (0, "")
    assert "confirmed: upsamplings=1" in run.stdout
    assert "figures: 8 of 9 images" in run.stdout
    assert "no image in 99.jpg" in run.stdout


def test_images_contradict_the_rule(here: Here) -> None:
    run = here("--model", "by-rule.yaml", "--images", "figures", "--json")
    assert (run.returncode, run.stderr) == (0, "")
    seen = json.loads(run.stdout)
    assert seen["schema_version"] == "1.0"
    told = seen["upsamplings_from_images"]
    assert (told["used"], told["decided"], told["agrees"]) == (2, 1, False)
    assert (told["images"], told["found"], told["unreadable"], told["made_square"]) == (8, 9, ["99.jpg"], 0)
    assert [(row["upsamplings"], row["heatmap_size"]) for row in told["candidates"]] == [
        (0, 8),
        (1, 16),
        (2, 32),
        (3, 64),
    ]
    assert [row["finding"] for row in told["candidates"]].count("fits") == 1

    strict = here("--model", "by-rule.yaml", "--images", "figures", "--strict")
    assert_three_parts(strict, 1)
    assert "pass --set upsamplings=1" in strict.stderr
    assert "contradicted: upsamplings=2 is used, the images show 1" in strict.stdout


def test_cannot_tell_is_no_error(here: Here) -> None:
    run = here("--model", "by-rule.yaml", "--images", "noise", "--strict")
    assert (run.returncode, run.stderr) == (0, "")
    assert "inconclusive from these images" in run.stdout


@pytest.mark.parametrize("folder", ["nowhere", "once.pth", "."])
def test_folders_without_images_are_refused(here: Here, folder: str) -> None:
    assert_three_parts(here("--images", folder), 2)


def test_without_images_nothing_is_said_of_them(here: Here) -> None:
    assert "upsamplings_from_images" not in json.loads(here("--json").stdout)


def test_the_shipped_training_command_is_the_recorded_one() -> None:
    """What ``once.yaml`` tells others to run must be a command that exists."""
    command = "python -m scripts.train_demo --model tests/data/once.yaml --steps 2000 --out tests/data"
    assert command in (ROOT / "tests/data/once.yaml").read_text()
    assert json.loads(ONCE.with_suffix(".json").read_text())["training"]["plan"]["steps"] == 2000
