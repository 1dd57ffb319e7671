"""Protocol of a dataset, and one sample of it."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from export.model.camera import Array, Camera
from export.model.joint_sets import JointSet
from export.runtime.pose import Box


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """One person in one image: the crop, and the annotation."""

    name: str
    """Name of the image (and the person) in messages: a path within the dataset, or a number."""
    group: str | None
    """Group for a table: the action."""
    crop: NDArray[np.uint8]
    """(S, S, 3) RGB, pixels 0..255, as ``export.runtime.pose.crop`` returns it."""
    box: Box
    """Position of the crop in the image."""
    joints_px: Array
    """(J, 2) annotated x, y in pixels of the *image*."""
    joints_mm: Array | None
    """(J, 3) annotated joints relative to the root joint, in the camera's axes; None without millimetres."""
    annotated: NDArray[np.bool_]
    """(J,) mask of the annotated joints; the other rows of the arrays are meaningless."""
    camera: Camera | None
    root_depth_mm: float | None
    """Depth of the root joint, for locating a prediction; like the camera None without ``joints_mm``."""


class Dataset(Protocol):
    """Samples by number, so that a run can be resumed; a dataset keeps no image in memory."""

    name: str
    """Title in a table: ``Human3.6M, protocol 2``."""
    joint_set: JointSet
    """Joint set that a network needs to be evaluated on it."""
    counted: tuple[int, ...]
    """Joints that errors are averaged over."""
    root: int
    """Joint at which predictions and annotations are aligned."""
    mirrors: bool
    """True if a mirrored image is a valid image of a person."""
    flip: bool
    """True if the released evaluation averages over the mirrored image."""
    published: str | None
    """Field of a configuration's claims with the published figure for this dataset."""
    identity: dict[str, Any]
    """Plain data that the samples depend on: another identity is another run."""
    notes: tuple[str, ...]
    """Remarks for the user: missing images, people that are left out."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def sample(self, index: int) -> Sample:
        """Return one sample; several threads may call it.

        Raises:
            BadInput: the image cannot be read.
        """
