"""The upsampling count from images: found whatever a checkpoint is loaded with, and left open where nothing tells."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from export.checkpoint.loading import read_checkpoint
from export.checkpoint.upsampling.evidence import (
    FEWEST_IMAGES,
    Candidate,
    UpsamplingEvidence,
    allowed_offset_px,
    decide,
    evidence_of,
    possible_candidates,
    upsampling_evidence,
)
from export.checkpoint.upsampling.runs import MIRRORED, TURNED, run_candidates
from export.common.files import PROJECT
from export.common.progress import no_progress
from export.images.figures import EVALUATION_SEED, draw_figures
from export.model.architecture import Architecture
from export.model.camera import Array
from export.model.config import load_config
from export.runtime.pose import Volume
from tests.support.checkpoints import TINY, State, alive_weights, fresh_weights

ONCE = PROJECT / "tests/data/once-demo.pth"
"""Trained from nothing on drawn figures with one doubling; ``once.yaml`` says how."""
DEMO = PROJECT / "demo/XS-atto-demo.pth"

Images = NDArray[np.uint8]


@cache
def figures(count: int, seed: int = EVALUATION_SEED) -> Images:
    return np.stack([figure.image for figure in draw_figures(count, seed)])


def once() -> tuple[Architecture, State]:
    return load_config(str(ONCE.with_name("once.yaml"))).architecture, dict(read_checkpoint(ONCE).tensors)


def findings(evidence: UpsamplingEvidence) -> list[str]:
    return [row.finding for row in evidence.candidates]


# ── what a doubling does to positions ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("upsamplings", "neighbour"), [(0, 1), (1, 2), (2, 3), (3, 2)])
def test_allowed_is_half_of_what_the_nearest_other_count_would_show(upsamplings: int, neighbour: int) -> None:
    here, there = (replace(TINY, upsamplings=count) for count in (upsamplings, neighbour))
    own, other = (Volume(a.heatmap_size, a.depth_dim, 256) for a in (here, there))
    corner_to_corner = own.bin_pixels * (own.heatmap_size - 1) / (other.bin_pixels * (other.heatmap_size - 1))
    assert allowed_offset_px(here) == pytest.approx(abs(127.5 * corner_to_corner - 127.5) / 2)
    assert allowed_offset_px(here) > 1


Demo = tuple[list[Architecture], list[Array]]


@pytest.fixture(scope="module")
def demo() -> Demo:
    """The demo checkpoint, trained with two, on figures that it has not seen."""
    candidates = possible_candidates(load_config("XS-atto").architecture, (1, 2, 3))
    return candidates, run_candidates(candidates, read_checkpoint(DEMO).tensors, figures(16), no_progress)


# ── decisions on made-up runs ────────────────────────────────────────────────────────────────────────────────────────


def made_up(stretch: float, noise_px: float = 0.4, images: int = 16) -> Array:
    """A network that follows the image about its centre but for noise, with all positions stretched afterwards."""
    rng = np.random.default_rng(1)
    before = rng.uniform(30, 225, (images, 18, 2))
    views = [before] + [(before - 127.5) @ m.T + 127.5 for m in (*TURNED.matrices, *MIRRORED.matrices)]
    seen = np.stack(views) + noise_px * rng.standard_normal((4, images, 1, 2))
    joints: Array = seen * stretch
    return joints


def runs_of(trained: int) -> list[Array]:
    """What a network that was trained with this count would show with each, were the stretch all that changed."""
    edges = [candidate.heatmap_size for candidate in possible_candidates(TINY)]
    share = [(edge - 1) / edge for edge in edges]
    return [made_up(here / share[trained]) for here in share]


@pytest.mark.parametrize("trained", range(4))
def test_the_stretch_alone_tells_the_count(trained: int) -> None:
    evidence = evidence_of(possible_candidates(TINY), runs_of(trained))
    assert evidence.decided == trained
    assert findings(evidence) == ["fits" if count == trained else "does not fit" for count in range(4)]
    assert f"only with {trained} " in evidence.reason


def test_a_stretch_that_no_count_explains_fits_none() -> None:
    evidence = evidence_of(
        possible_candidates(TINY), [made_up(stretch, noise_px=0.3) for stretch in (0.8, 0.9, 1.1, 1.2)]
    )
    assert evidence.decided is None
    assert "with no count do poses turn about" in evidence.reason


def row(upsamplings: int, offset_px: float, uncertainty_px: float = 0.3, turned_missed: float = 0.1) -> Candidate:
    return Candidate(upsamplings, 8 << upsamplings, turned_missed, 0.1, offset_px, uncertainty_px, 1.0)


@pytest.mark.parametrize(
    ("rows", "decided"),
    [
        ([row(2, 0.2), row(3, 2.2)], 2),
        ([row(2, 0.2), row(3, 1.1)], None),
        ([row(2, 0.8), row(3, 2.8)], None),
        ([row(2, 0.2), row(3, 0.1, turned_missed=0.9)], 2),
        ([row(2, 0.2, turned_missed=float("nan"))], None),
        ([row(2, 0.2, uncertainty_px=float("nan"))], None),
        ([row(2, 0.2), row(3, float("nan"))], None),
        ([], None),
    ],
)
def test_one_count_must_fit_and_all_others_be_refuted(rows: list[Candidate], decided: int | None) -> None:
    assert decide(rows)[0] == decided


def test_counts_that_are_left_are_named() -> None:
    assert "do not rule out 2 and 3" in decide([row(2, 0.2), row(3, 1.1)])[1]


# ── real networks ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_demo_checkpoint_was_trained_with_two(demo: Demo) -> None:
    evidence = evidence_of(*demo)
    assert evidence.decided == 2
    assert findings(evidence) == ["does not fit", "fits", "does not fit"]
    assert decide([row for row in evidence.candidates if row.upsamplings != 2])[0] is None


def test_one_doubling_is_found_though_the_file_is_loaded_with_two() -> None:
    architecture, tensors = once()
    evidence = upsampling_evidence(replace(architecture, upsamplings=2), tensors, figures(12))
    assert evidence.decided == 1
    assert findings(evidence)[1:] == ["fits", "does not fit", "does not fit"]


def nobody() -> dict[str, Images]:
    rng = np.random.default_rng(0)
    flat = np.broadcast_to(rng.integers(0, 256, (8, 1, 1, 3), dtype=np.uint8), (8, 256, 256, 3))
    return {"noise": rng.integers(0, 256, (8, 256, 256, 3), dtype=np.uint8), "flat": np.ascontiguousarray(flat)}


@pytest.mark.parametrize("kind", nobody())
def test_images_of_nobody_tell_nothing(kind: str) -> None:
    evidence = upsampling_evidence(*once(), nobody()[kind], counts=(0, 1, 2))
    assert evidence.decided is None
    assert set(findings(evidence)) == {"does not follow"}
    assert "images that the network does not know" in evidence.reason


@pytest.mark.parametrize("weights", ["stand-in", "fresh, as torch"])
def test_weights_that_were_not_trained_tell_nothing(weights: str) -> None:
    tensors = alive_weights() if weights == "stand-in" else fresh_weights(TINY, as_convnext="ConvNeXt" in weights)
    evidence = upsampling_evidence(TINY, tensors, figures(8))
    assert evidence.decided is None
    assert set(findings(evidence)) == {"does not follow"}


def test_too_few_images_tell_nothing() -> None:
    evidence = upsampling_evidence(*once(), figures(FEWEST_IMAGES - 1))
    assert (evidence.decided, evidence.candidates) == (None, ())
    assert "at least 8" in evidence.reason
