"""Detection of the upsampling count from images: weights do not show it, poses do.

A doubling keeps the corner pixels of a map in its corners, so bin b of m goes to b · (2m − 1) / (m − 1) of 2m: a little
more than twice as far from the origin. But bins become pixels by a factor of exactly two. A network that doubles once
too often therefore places every joint too far from the crop's upper left corner, by 3.3 % from 16 to 32 bins and by
1.6 % from 32 to 64. For the doublings of its training it has learned to compensate.

The stretch moves the point about which poses turn when the crop is turned or mirrored (``centre.py``): with the
right count it is the crop's centre, with any other it lies at least 2 px off along x and y. Annotations are not needed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from export.checkpoint.upsampling.centre import centres, missed_share, pooled_offset
from export.checkpoint.upsampling.runs import MIRRORED, TURNED, run_candidates
from export.checkpoint.verdict import MAX_VOLUME_ELEMENTS
from export.common.progress import Progress, no_progress
from export.model.architecture import HEAD_LAYERS, Architecture
from export.model.camera import Array
from export.model.joint_sets import joint_set

FEWEST_IMAGES = 8
"""Least number of images: with fewer, the width of the interval is hardly known."""
MOST_IMAGES = 32
"""Most images: more would make the interval narrower than the offset of trained networks (0.1 to 0.2 px over 256
figures)."""
MOST_MISSED = 0.5
"""Largest ``missed_share`` of a network that follows a turned crop. Five trained networks had 0.14 to 0.25 with their
own count; fresh and random weights, and the demo checkpoint on noise and on flat images, 1.0 and more."""

Finding = Literal["fits", "does not fit", "unclear", "does not follow"]


@dataclass(frozen=True)
class Candidate:
    """Evidence of the images for one count."""

    upsamplings: int
    heatmap_size: int
    turned_missed: float
    """Error of joints after the crop is turned, as a share of their motion; see ``missed_share``."""
    mirrored_missed: float
    """The same for mirrored crops, which are used only where it is small: mirrored people may be unusual."""
    offset_px: float
    """Offset of the centre of rotation from the crop's centre, to the lower right."""
    uncertainty_px: float
    """Half the width of its 95 % interval."""
    allowed_px: float
    """Half of the offset that the nearest other count would cause."""

    @property
    def finding(self) -> Finding:
        """The conclusion for this count; comparisons are written so that NaN never fits."""
        if not self.turned_missed <= MOST_MISSED:
            return "does not follow"
        if abs(self.offset_px) + self.uncertainty_px <= self.allowed_px:
            return "fits"
        return "does not fit" if abs(self.offset_px) - self.uncertainty_px > self.allowed_px else "unclear"


@dataclass(frozen=True)
class UpsamplingEvidence:
    """Evidence for each count, and the only count that fits, if there is one."""

    images: int
    candidates: tuple[Candidate, ...]
    decided: int | None
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Return plain data; a number that is not finite is None."""
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
    """Run the network with each count on the crops, and on the crops turned and mirrored.

    Args:
        architecture: of the network; its count is ignored.
        tensors: the checkpoint's, under canonical names.
        images: (N, S, S, 3) RGB crops of people, S the architecture's input size.
        counts: the candidates; ``possible_candidates`` leaves some out.
        progress: called with the share of images that are done.

    Raises:
        BadInput: the tensors do not fit the architecture.
    """
    candidates = possible_candidates(architecture, counts)
    if len(images) < FEWEST_IMAGES:
        return UpsamplingEvidence(len(images), (), None, f"{len(images)} images; at least {FEWEST_IMAGES} are needed")
    return evidence_of(candidates, run_candidates(candidates, tensors, images, progress))


def possible_candidates(
    architecture: Architecture, counts: Sequence[int] = range(HEAD_LAYERS + 1)
) -> list[Architecture]:
    """Return the architecture with each count, without those whose volume would be too large."""
    candidates = [replace(architecture, upsamplings=count) for count in sorted(set(counts))]
    return [c for c in candidates if c.volume_channels * c.heatmap_size**2 <= MAX_VOLUME_ELEMENTS]


def evidence_of(candidates: Sequence[Architecture], joints_px: Sequence[Array]) -> UpsamplingEvidence:
    """Return the evidence of the candidates' joints on the same images, as ``run_candidates`` returns them."""
    rows = tuple(map(_candidate, candidates, joints_px))
    decided, reason = decide(rows)
    return UpsamplingEvidence(joints_px[0].shape[1], rows, decided, reason)


def decide(rows: Sequence[Candidate]) -> tuple[int | None, str]:
    """Return the only count that fits while every other is refuted, or None; and the reason."""
    following = [row for row in rows if row.finding != "does not follow"]
    fitting = [row for row in rows if row.finding == "fits"]
    unclear = [row for row in rows if row.finding == "unclear"]
    if not following:
        reason = f"with no count do joints follow a turned crop (they miss {MOST_MISSED:.0%} of the way or more): "
        return None, reason + "weights that were not trained, or images that the network does not know"
    nearest = min(following, key=lambda row: abs(row.offset_px) / row.allowed_px)
    if not fitting and not unclear:
        return None, f"with no count do poses turn about the crop's centre; nearest is {_words(nearest)}"
    if len(fitting) != 1 or unclear:
        left = " and ".join(str(row.upsamplings) for row in (*fitting, *unclear))
        return None, f"the images do not rule out {left}; nearest is {_words(nearest)}; more images may tell"
    return fitting[0].upsamplings, f"poses turn about the crop's centre only with {_words(fitting[0])}"


def allowed_offset_px(architecture: Architecture) -> float:
    """Return half of the offset of a network that was trained for the nearest other count.

    If trained for a map of t bins and run with one of m, positions are stretched by (m − 1)/m over (t − 1)/t.
    """
    edges = [replace(architecture, upsamplings=count).heatmap_size for count in range(HEAD_LAYERS + 1)]
    share = {edge: (edge - 1) / edge for edge in edges}
    own = share.pop(architecture.heatmap_size)
    return (architecture.input_size - 1) / 2 * min(abs(own / other - 1) for other in share.values()) / 2


def _candidate(architecture: Architecture, joints_px: Array) -> Candidate:
    before, turned, mirrored = joints_px[0], joints_px[1:-1], joints_px[-1:]
    mirror_pairs = joint_set(architecture.joints).mirror_pairs
    mirrored_missed = missed_share(before, mirrored, MIRRORED, mirror_pairs)
    points = centres(before, turned, TURNED)
    if mirrored_missed <= MOST_MISSED:
        points = np.concatenate([points, centres(before, mirrored, MIRRORED)])
    offset = pooled_offset(points - (architecture.input_size - 1) / 2)
    return Candidate(
        upsamplings=architecture.upsamplings,
        heatmap_size=architecture.heatmap_size,
        turned_missed=missed_share(before, turned, TURNED, ()),
        mirrored_missed=mirrored_missed,
        offset_px=offset.px,
        uncertainty_px=offset.uncertainty_px,
        allowed_px=allowed_offset_px(architecture),
    )


def _words(row: Candidate) -> str:
    return f"{row.upsamplings} (off by {row.offset_px:.1f} ± {row.uncertainty_px:.1f} px, allowed {row.allowed_px:.1f})"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
