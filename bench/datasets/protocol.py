"""What accuracy is measured on: people cut out of images, and what is true of them."""

from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from export.model.joint_sets import JointSet
from export.model.pose import Array, Box, Camera


@dataclass(frozen=True, eq=False, kw_only=True)
class Annotation:
    """What is known of one person in one image, but for the image."""

    name: str
    """Names the image (and the person) in messages: a path within the dataset, or a number."""
    group: str | None
    """What a table may be split by: the action."""
    box: Box
    """The crop's place in the image."""
    joints_px: Array
    """(J, 2) true x, y in pixels of the *image*."""
    joints_mm: Array | None
    """(J, 3) true joints relative to the root joint, in the camera's axes; None where only pixels are annotated."""
    annotated: NDArray[np.bool_]
    """(J,) which joints the annotation speaks of; of the others, what stands in the arrays means nothing."""
    camera: Camera | None
    root_depth_mm: float | None
    """Depth that the root joint is given when a prediction is located; both are None where ``joints_mm`` is."""

    def with_crop(self, crop: NDArray[np.uint8]) -> "Sample":
        """The sample of this person and of (S, S, 3) RGB pixels."""
        known = {field.name: getattr(self, field.name) for field in fields(Annotation)}
        return Sample(crop=crop, **known)


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample(Annotation):
    """One person in one image."""

    crop: NDArray[np.uint8]
    """(S, S, 3) RGB, pixels 0..255, cut out as ``export.model.pose.crop`` does it."""


class Dataset(Protocol):
    """Samples by number, so that a run can stop and go on; nothing is kept of a sample that was given away."""

    name: str
    """As a table says it: ``Human3.6M, protocol 2``."""
    joint_set: JointSet
    """What a network must speak of to be judged on it."""
    counted: tuple[int, ...]
    """Joints over which errors are averaged."""
    root: int
    """The joint that predictions and truth are aligned at."""
    mirrors: bool
    """Whether a mirrored image is again one of a person as they are found in it."""
    flip: bool
    """Whether the released evaluation averages over the mirrored image."""
    published: str | None
    """The field of a configuration's claims that holds the published figure for this dataset."""
    identity: dict[str, Any]
    """Plain data on which the samples depend: a run on another identity is another run."""
    notes: tuple[str, ...]
    """What a user must be told: images that are missing, people that were left out."""

    def __len__(self) -> int:
        """How many samples there are."""

    def sample(self, index: int) -> Sample:
        """Number ``index``; may be called from several threads.

        Raises:
            BadInput: the image cannot be read.
        """
