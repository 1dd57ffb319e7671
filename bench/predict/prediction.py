"""The joints of one person in one photo, in bins, pixels and mm."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.sessions.exported import ExportFolder
from bench.sessions.inference import CROP, DECODE, Lap, no_lap, require_mirrors, run_network
from bench.sessions.protocol import Session
from export.common.errors import CheckFailed
from export.common.records import peek
from export.images.photo import Photo
from export.model.camera import Array, Camera, locate
from export.model.joint_sets import JointSet
from export.runtime.pose import CUBE_MM, Box, crop, crop_box, crop_to_image

SCHEMA_VERSION = "1.1"


@dataclass(frozen=True, eq=False)
class Prediction:
    """The joints that a model finds for one person."""

    joint_set: JointSet
    box: Box
    """The crop in the image: x, y, width, height."""
    bins: Array
    """(J, 3)."""
    image_px: Array
    """(J, 2) x, y in the photo."""
    cube_mm: Array
    """(J, 3) x right, y down, z away from the cube's centre, in mm of the volume's cube of 2000 mm. The depth is
    the network's; x and y assume a crop 2000 mm wide, which no photo alone can confirm."""
    camera_mm: Array | None
    """(J, 3) in the camera's coordinates, where camera and distance are known."""

    @property
    def space_mm(self) -> Array:
        """Return the camera's coordinates where they are known, otherwise the cube's."""
        return self.cube_mm if self.camera_mm is None else self.camera_mm

    def as_json(self) -> dict[str, Any]:
        """Return plain data, with lists in the order of ``joint_names``."""
        return {
            "joint_names": list(self.joint_set.joints),
            "crop_box": list(self.box),
            "joints_bins": self.bins.tolist(),
            "joints_image_px": self.image_px.tolist(),
            "joints_cube_mm": self.cube_mm.tolist(),
            "joints_camera_mm": None if self.camera_mm is None else self.camera_mm.tolist(),
        }


def predict(
    exported: ExportFolder,
    session: Session,
    photo: Photo,
    person_box: Sequence[float] | None = None,
    *,
    flip: bool = False,
    camera: Camera | None = None,
    root_depth_mm: float | None = None,
    lap: Lap = no_lap,
) -> Prediction:
    """Find the joints of the person in ``person_box``, by default the whole photo.

    Args:
        exported: the model's folder.
        session: the model.
        photo: the photo.
        person_box: x, y, width, height in pixels of the photo.
        flip: whether to average with the mirrored crop.
        camera: the camera's intrinsics.
        root_depth_mm: distance of the root joint from the camera.
        lap: called at the end of each of ``bench.sessions.inference.STAGES``.

    Raises:
        BadInput: the box has no area inside the photo, or mirroring makes no sense for the model.
        CheckFailed: joints are not finite.
    """
    if flip:
        require_mirrors(exported)
    height, width = photo.image.shape[:2]
    box = crop_box(person_box or (0, 0, width, height), width, height)
    volume, joints = exported.volume, exported.joint_set
    crops = crop(photo.image, box, volume.input_size)[None]
    lap(CROP)
    bins = run_network(session, crops, volume, joints.mirror_pairs if flip else None, lap=lap)[0]
    if not np.isfinite(bins).all():
        detail = f"{int((~np.isfinite(bins)).sum())} of {bins.size} values are not finite"
        raise CheckFailed(f"the {session.precision} model computes no pose", detail, "do not ship it")
    camera_mm = None
    if camera is not None and root_depth_mm is not None:
        camera_mm = locate(bins, volume, box, camera, root_depth_mm)
    prediction = Prediction(
        joint_set=joints,
        box=box,
        bins=bins,
        image_px=crop_to_image(volume.crop_pixels(bins), box, volume.input_size),
        cube_mm=bins * volume.bin_mm - CUBE_MM / 2,
        camera_mm=camera_mm,
    )
    lap(DECODE)
    return prediction


@dataclass(frozen=True)
class Difference:
    """The distance of each joint from the same joint in another precision, in mm of the volume's cube."""

    precision: str
    mean_mm: float
    max_mm: float
    farthest: str
    """The joint with the largest distance."""

    def __str__(self) -> str:
        return f"{self.mean_mm:.2f} mm from {self.precision} (mean), {self.max_mm:.2f} mm at most ({self.farthest})"


def difference(prediction: Prediction, other: Prediction, precision: str) -> Difference:
    """Return how far a prediction is from ``other``, which is of ``precision``."""
    mm = np.linalg.norm(prediction.cube_mm - other.cube_mm, axis=1)
    return Difference(precision, float(mm.mean()), float(mm.max()), prediction.joint_set.joints[int(mm.argmax())])


def picture_title(exported: ExportFolder, runtime: str, variant: str) -> list[str]:
    """Return the lines over a picture: the model with its weights, and a warning if its parity is not proven."""
    manifest = exported.manifest
    lines = [f"{manifest.model} {variant}, {runtime}, weights: {manifest.weights.origin}"]
    if warning := parity_warning(exported, variant):
        lines.append(f"WARNING: {warning.partition(':')[0]}")
    return lines


def parity_warning(exported: ExportFolder, variant: str) -> str | None:
    """Return a warning if the export has not proven the file of this variant; None if it has."""
    report = next((report for report in exported.manifest.parity if report.variant == variant), None)
    if report is None:
        return f"the parity of {variant} was not measured: nothing proves this pose"
    if report.outcome == "pass":
        return None
    return f"the parity of {variant} is {report.outcome}: do not trust this pose ({report.reason})"


def is_prediction(path: Path) -> bool:
    """Return whether a JSON file is a record of ``prediction_record``."""
    return peek(path, "joints_bins") is not None


def prediction_record(
    exported: ExportFolder,
    session: Session,
    path: Path,
    photo: Photo,
    person_box: Sequence[float] | None,
    prediction: Prediction,
    *,
    variant: str,
    distance: Difference | None = None,
) -> dict[str, Any]:
    """Return plain data: model, photo and prediction, and the distance from another precision if there is one."""
    variants = [variant, *([distance.precision] if distance else [])]
    warnings = (photo.warning, *(parity_warning(exported, name) for name in variants))
    height, width = photo.image.shape[:2]
    whole = "no person's box was given: the whole photo is taken as the person's"
    return {
        "schema_version": SCHEMA_VERSION,
        "model": exported.manifest.model,
        "weights": exported.manifest.weights.model_dump(include={"origin", "sha256"}),
        "precision": session.precision,
        "edition": variant,
        "runtime": session.describe(),
        "photo": {"path": str(path), "width": width, "height": height},
        "person_box": None if person_box is None else list(person_box),
        "notes": [*photo.notes, *([whole] if person_box is None else [])],
        "difference": asdict(distance) if distance else None,
        "warnings": [text for text in warnings if text],
        **prediction.as_json(),
    }
