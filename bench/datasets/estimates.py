"""Boxes and root joints from other networks, in the file that the released evaluation reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import FiniteFloat, TypeAdapter
from pydantic.types import FailFast

from bench.datasets.source import Positive, Source


@dataclass(frozen=True, slots=True)
class Estimate:
    """One detected person."""

    image_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, Positive, Positive]
    """x, y, width, height in pixels of the image: already square and enlarged."""
    root_cam: tuple[FiniteFloat, FiniteFloat, Positive]
    """Root joint in the camera's coordinates, in mm."""


_FILE: TypeAdapter[list[Estimate]] = TypeAdapter(Annotated[list[Estimate], FailFast()])


def read_estimates(source: Source, path: Path) -> dict[int, list[Estimate]]:
    """Return the detected people by image id.

    Raises:
        BadInput: not such a file, or a box without area, or a root behind the camera.
    """
    estimates: dict[int, list[Estimate]] = {}
    for estimate in source.read(path, _FILE):
        estimates.setdefault(estimate.image_id, []).append(estimate)
    return estimates
