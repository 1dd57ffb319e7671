"""How often a head doubles its map, found from images: weights do not show it, poses do.

A doubling keeps the corner pixels of a map in its corners, so bin b of m goes to b · (2m − 1) / (m − 1) of 2m: a little
more than twice as far from the origin. But bins become pixels by a factor of exactly two. A network that doubles once
too often therefore places every joint too far from the crop's upper left corner, by 3.3 % from 16 to 32 bins and by
1.6 % from 32 to 64. For the doublings that it was trained with, it has learned to make up.

The stretch moves the point about which poses turn when the crop is turned or mirrored (``centre.py``): with the
right count it is the crop's centre, with any other it lies at least 2 px off along x and y. Nothing has to be known of
the people in the images. How sharp the volumes are is shown too, but decides nothing: docs/checkpoints.md says why.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from export.checkpoint.upsampling.centre import centres, missed_share, pooled_offset
from export.checkpoint.upsampling.motions import MIRRORED, TURNED
from export.checkpoint.upsampling.runs import Run, run_candidates
from export.checkpoint.verdict import MAX_VOLUME_ELEMENTS
from export.common.progress import Progress, no_progress
from export.model.architecture import HEAD_LAYERS, Architecture
from export.model.joint_sets import joint_set

FEWEST_IMAGES = 8
"""With fewer, the interval's own width is hardly known."""
MOST_IMAGES = 32
"""More would make the interval narrower than what trained networks are off by (0.1 to 0.2 px over 256 figures)."""
MOST_MISSED = 0.5
"""Of the way that turned joints should go. Five trained networks missed 0.14 to 0.25 of it with their own count; fresh
and stand-in weights, and the demo checkpoint on noise and on flat images, 1.0 and more."""

Finding = Literal["fits", "does not fit", "unclear", "does not follow"]


@dataclass(frozen=True)
class Candidate:
    """What the images say of one count."""

    upsamplings: int
    heatmap_size: int
    turned_missed: float
    """How far joints end from where turning the crop takes them, as a share of that way."""
    mirrored_missed: float
    """The same for mirrored crops, which are used only where it is small: there may be no such people."""
    offset_px: float
    """How far the point about which poses turn lies from the crop's centre, to the lower right."""
    uncertainty_px: float
    """Half the width of the 95 % interval of that."""
    allowed_px: float
    """Half of what the count nearest to this one would make of it."""
    entropy_share: float
    """Mean entropy of the volumes, of the largest possible."""
    mode_distance_mm: float
    """Median distance of a decoded joint from its volume's fullest bin, in the cube of 2000 mm."""

    @property
    def finding(self) -> Finding:
        """Written so that whatever is not a number fits nothing."""
        if not self.turned_missed <= MOST_MISSED:
            return "does not follow"
        if abs(self.offset_px) + self.uncertainty_px <= self.allowed_px:
            return "fits"
        return "does not fit" if abs(self.offset_px) - self.uncertainty_px > self.allowed_px else "unclear"


@dataclass(frozen=True)
class UpsamplingEvidence:
    """A row for each count, and the count that they leave, if they leave one."""

    images: int
    candidates: tuple[Candidate, ...]
    decided: int | None
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Plain data; what is no finite number becomes None."""
        return {
            "images": self.images,
            "decided": self.decided,
            "reason": self.reason,
            "candidates": [
                {name: _finite(value) for name, value in asdict(row).items()} | {"finding": row.finding}
                for row in self.candidates
            ],
        }


def upsampling_evidence(
    architecture: Architecture,
    tensors: Mapping[str, Tensor],
    images: NDArray[np.uint8],
    counts: Sequence[int] = range(HEAD_LAYERS + 1),
    progress: Progress = no_progress,
) -> UpsamplingEvidence:
    """Run the network with each of the counts on the crops, and on the crops turned and mirrored.

    Args:
        architecture: its own count does not matter.
        tensors: the checkpoint's, under canonical names.
        images: (N, S, S, 3) RGB crops of people, S the architecture's input size.
        counts: the candidates; those that ``possible_candidates`` leaves out are not run.
        progress: told how many images are done.

    Raises:
        BadInput: the tensors do not fit the architecture.
    """
    candidates = possible_candidates(architecture, counts)
    if len(images) < FEWEST_IMAGES:
        return UpsamplingEvidence(len(images), (), None, f"{len(images)} images; {FEWEST_IMAGES} are needed at least")
    return evidence_of(candidates, run_candidates(candidates, tensors, images, progress))


def possible_candidates(
    architecture: Architecture, counts: Sequence[int] = range(HEAD_LAYERS + 1)
) -> list[Architecture]:
    """The architecture with each of the counts, without those whose volume would be too large for any network here."""
    candidates = [replace(architecture, upsamplings=count) for count in sorted(set(counts))]
    return [c for c in candidates if c.volume_channels * c.heatmap_size**2 <= MAX_VOLUME_ELEMENTS]


def evidence_of(candidates: Sequence[Architecture], runs: Sequence[Run]) -> UpsamplingEvidence:
    """What the candidates' runs on the same images say together."""
    rows = tuple(map(_judge, candidates, runs))
    decided, reason = decide(rows)
    return UpsamplingEvidence(len(runs[0].entropy_share), rows, decided, reason)


def decide(rows: Sequence[Candidate]) -> tuple[int | None, str]:
    """The one count that fits while every other is refuted, or None; and why, in words."""
    following = [row for row in rows if row.finding != "does not follow"]
    fitting = [row for row in rows if row.finding == "fits"]
    unclear = [row for row in rows if row.finding == "unclear"]
    if not following:
        why = f"with no count do joints follow a turned crop (they miss {MOST_MISSED:.0%} of the way or more): "
        return None, why + "weights that were not trained, or images that show nothing they know"
    nearest = min(following, key=lambda row: abs(row.offset_px) / row.allowed_px)
    if not fitting and not unclear:
        return None, f"with no count do poses turn about the crop's centre; nearest is {_words(nearest)}"
    if len(fitting) != 1 or unclear:
        left = " and ".join(str(row.upsamplings) for row in (*fitting, *unclear))
        return None, f"the images do not rule out {left}; nearest is {_words(nearest)}; more images may tell"
    return fitting[0].upsamplings, f"poses turn about the crop's centre only with {_words(fitting[0])}"


def allowed_offset_px(architecture: Architecture) -> float:
    """Half of what the nearest other count would show: a network that was trained for it, run with this one.

    Trained for a map of t bins and run with one of m, positions are stretched by (m − 1)/m over (t − 1)/t.
    """
    edges = [replace(architecture, upsamplings=count).heatmap_size for count in range(HEAD_LAYERS + 1)]
    share = {edge: (edge - 1) / edge for edge in edges}
    here = share.pop(architecture.heatmap_size)
    return (architecture.input_size - 1) / 2 * min(abs(here / other - 1) for other in share.values()) / 2


def _judge(architecture: Architecture, run: Run) -> Candidate:
    before, turned, mirrored = run.joints_px[0], run.joints_px[1:-1], run.joints_px[-1:]
    mirror_pairs = joint_set(architecture.joints).mirror_pairs
    mirrored_missed = missed_share(before, mirrored, MIRRORED, mirror_pairs)
    found = centres(before, turned, TURNED)
    if mirrored_missed <= MOST_MISSED:
        found = np.concatenate([found, centres(before, mirrored, MIRRORED)])
    offset = pooled_offset(found - (architecture.input_size - 1) / 2)
    return Candidate(
        upsamplings=architecture.upsamplings,
        heatmap_size=architecture.heatmap_size,
        turned_missed=missed_share(before, turned, TURNED, ()),
        mirrored_missed=mirrored_missed,
        offset_px=offset.px,
        uncertainty_px=offset.uncertainty_px,
        allowed_px=allowed_offset_px(architecture),
        entropy_share=float(run.entropy_share.mean()),
        mode_distance_mm=float(np.median(run.mode_distance_mm)),
    )


def _words(row: Candidate) -> str:
    return f"{row.upsamplings} (off by {row.offset_px:.1f} ± {row.uncertainty_px:.1f} px, allowed {row.allowed_px:.1f})"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
