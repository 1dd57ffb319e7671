"""Boxes and root joints that other networks estimated, in the file that the released evaluation reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import FiniteFloat, TypeAdapter
from pydantic.types import FailFast

from bench.datasets.annotations import Positive, read_json


@dataclass(frozen=True, slots=True)
class Estimate:
    """One detected person."""

    image_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, Positive, Positive]
    """x, y, width, height in pixels of the image: already square and enlarged."""
    root_cam: tuple[FiniteFloat, FiniteFloat, Positive]
    """The root joint in the camera's coordinates, in mm."""

    @property
    def root_depth_mm(self) -> float:
        """How far away the root joint is."""
        return self.root_cam[2]


_FILE: TypeAdapter[list[Estimate]] = TypeAdapter(Annotated[list[Estimate], FailFast()])


def read_estimates(path: Path) -> dict[int, list[Estimate]]:
    """Image id → the people detected in it.

    Raises:
        BadInput: not such a file, or a box without area, or a root behind the camera.
    """
    estimates: dict[int, list[Estimate]] = {}
    for estimate in read_json(path, _FILE):
        estimates.setdefault(estimate.image_id, []).append(estimate)
    return estimates
