"""The network's input, as a bundle's manifest describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Sequence

import numpy as np

from pose_runtime.runtime.errors import BadInput
from pose_runtime.runtime.pose import Box, crop_box, normalise

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Preprocessing(NamedTuple):
    """Size, normalisation and margin of a network's crops."""

    input_size: int
    mean: Sequence[float]
    std: Sequence[float]
    box_margin: float

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Preprocessing:
        """Return those of a manifest."""
        known = manifest["preprocessing"]
        return cls(known["input_size"], known["mean"], known["std"], known["box_margin"])

    def crop_box(self, box: Sequence[float], width: int, height: int) -> Box:
        """Return the square that is cropped around a person's box; see ``runtime.pose.crop_box``."""
        return crop_box(box, width, height, self.box_margin)

    def normalise(self, crops: NDArray[np.uint8], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Turn (N, S, S, 3) RGB pixels into the network's input; see ``runtime.pose.normalise``."""
        planes: NDArray[np.float32] = normalise(crops, out, self.mean, self.std)
        return planes


def as_boxes(boxes: Any, width: int, height: int) -> list[Sequence[float]]:
    """Turn one box or many into a list of four numbers each; None is the whole image.

    Raises:
        BadInput: other shapes, or values that are not finite.
    """
    if boxes is None:
        return [(0.0, 0.0, float(width), float(height))]
    try:
        array = np.asarray(boxes, np.float64)
    except (TypeError, ValueError) as error:
        do = "give (N, 4): x, y, width, height in pixels"
        raise BadInput("these are no boxes", f"{type(boxes).__name__}: {error}", do) from error
    if array.shape == (4,):
        array = array[None]
    if array.size == 0:
        return []
    if array.ndim != 2 or array.shape[1] != 4 or not np.isfinite(array).all():
        raise BadInput("these are no boxes", f"shape {array.shape}", "give (N, 4): x, y, width, height in pixels")
    return [tuple(box) for box in array]
