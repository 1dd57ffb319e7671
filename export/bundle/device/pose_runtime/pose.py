"""The runtime's one class: people in an image → their joints."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from pose_runtime.bundle import Bundle
from pose_runtime.runtime.errors import BadInput, CheckFailed, NotPossible
from pose_runtime.runtime.pose import crop, crop_box, crop_to_image, normalise
from pose_runtime.runtime.registry import RUNTIMES, installed
from pose_runtime.runtime.session import Session
from pose_runtime.sessions import open_session

if TYPE_CHECKING:
    from numpy.typing import NDArray


AUTO = "auto"
BOX_FORM = "give (N, 4): x, y, width, height in pixels"


class Pose:
    """A loaded network. One object serves one thread at a time; load one for each thread.

    ``runtime`` and ``precision`` name the artifact; ``passed_over`` says why ``runtime="auto"`` took no earlier one.
    """

    def __init__(self, bundle: Bundle, network: Session, passed_over: dict[str, str]) -> None:
        """Use ``Pose.load``."""
        self.network = network
        self.runtime, self.precision, self.passed_over = network.runtime, network.precision, passed_over
        self.joint_names: tuple[str, ...] = tuple(bundle.manifest["joints"]["names"])
        self.bones: list[tuple[int, int]] = [(a, b) for a, b in bundle.manifest["joints"]["bones"]]
        self.weights_origin: str = bundle.manifest["weights"]["origin"]
        """``checkpoint``, ``demo`` or ``stand-in``; poses of stand-in weights mean nothing."""
        self._volume = bundle.volume
        size = self._volume.input_size
        self._crops = np.empty((0, size, size, 3), np.uint8)
        self._planes = np.empty((0, 3, size, size), np.float32)
        self._closed = False

    @classmethod
    def load(
        cls,
        bundle: str | os.PathLike[str],
        runtime: str = AUTO,
        precision: str = "fp16",
        threads: int | None = None,
    ) -> Pose:
        """Load a bundle's network of this precision.

        Args:
            bundle: the folder with ``manifest.json``.
            runtime: ``tensorrt``, ``tensorrt_rtx``, ``openvino``, ``onnxruntime``, or ``auto``: the first of these that
                is installed and runs this precision here. A GPU's runtime that is installed and cannot be used causes
                a warning.
            precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``, as the bundle has it.
            threads: processor threads; by default as many as this process may use.

        Raises:
            BadInput: no bundle, an unknown runtime or precision, or an impossible number of threads.
            CheckFailed: the file to be loaded is not the manifest's.
            NotPossible: nothing here runs it, or not the runtime that was asked for.
        """
        opened = Bundle(Path(bundle))
        opened.onnx(precision)
        if runtime != AUTO and runtime not in RUNTIMES:
            raise BadInput("unknown runtime", runtime, f"choose of {AUTO}, {', '.join(RUNTIMES)}")
        require_threads(threads)
        passed_over: dict[str, str] = {}
        for name in RUNTIMES if runtime == AUTO else (runtime,):
            try:
                return cls(opened, open_session(opened, name, precision, threads).session, passed_over)
            except NotPossible as reason:
                if runtime != AUTO:
                    raise
                passed_over[name] = str(reason)
                if RUNTIMES[name].on_gpu and installed(name):
                    warnings.warn(f"{name} is installed and not used: {reason}", stacklevel=2)
        advice = "install onnxruntime or openvino, or ask for another precision"
        raise NotPossible(f"nothing here runs {precision}", "; ".join(passed_over.values()), advice)

    def __call__(
        self, image: NDArray[np.uint8], boxes: Any = None, skip_bad_boxes: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the joints of every person.

        Args:
            image: (H, W, 3) uint8, **RGB**, 0 to 255 (OpenCV reads BGR: ``image[..., ::-1]``).
            boxes: (N, 4) boxes of persons as x, y, width, height in pixels; (4,) for one; None for the whole image.
            skip_bad_boxes: give NaN as the joints of a box without area inside the image, instead of an error.

        Returns:
            ``joints_px``, (N, J, 2) float64: x, y in pixels of the image.
            ``joints_mm``, (N, J, 3) float64: x right, y down, z away from the camera, in mm of the cube of 2000 mm that
            the network sees. z is relative to the root joint (the pelvis), as the network was trained. x and y are
            relative to the crop's centre, and as large as if the crop were 2000 mm wide, which no image alone can
            tell. With a camera and the root's distance true positions follow from ``joints_px`` and z:
            X = (x − cx) / fx · Z with Z = z + distance.

        Raises:
            BadInput: an image or boxes of another shape or type, a box outside of the image, or it was closed.
            CheckFailed: the network gave a value that is not finite.
        """
        if self._closed:
            raise BadInput("this network was closed", "a call after close()", "load it again")
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            value = f"{getattr(image, 'shape', type(image).__name__)} {getattr(image, 'dtype', '')}"
            raise BadInput("this is no image", value, "give (H, W, 3) uint8, RGB, 0 to 255")
        height, width = image.shape[:2]
        places, used, count = [], [], 0
        for index, box in enumerate(as_boxes(boxes, width, height)):
            count = index + 1
            try:
                places.append(crop_box(box, width, height))
                used.append(index)
            except BadInput as error:
                if not skip_bad_boxes:
                    advice = f"{error.advice}, or skip it with skip_bad_boxes=True"
                    raise BadInput(f"box {index}: {error.problem}", error.detail, advice) from error
        if len(self._crops) < len(places):  # memory is reused until a call has more persons
            self._crops = np.empty((len(places), *self._crops.shape[1:]), np.uint8)
        crops = self._crops[: len(places)]
        for out, place in zip(crops, places):
            crop(image, place, len(out), out)
        bins = self.bins(crops)
        pixels = crop_to_image(self._volume.crop_pixels(bins), np.reshape(places, (-1, 4)), self._volume.input_size)
        joints_mm = self._volume.joints_mm(bins)
        if len(used) == count:
            return pixels, joints_mm
        all_px, all_mm = (np.full((count, *part.shape[1:]), np.nan) for part in (pixels, joints_mm))
        all_px[used], all_mm[used] = pixels, joints_mm
        return all_px, all_mm

    def bins(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn (N, S, S, 3) RGB crops into (N, J, 3) joints in bins, in batches that the network takes.

        Raises:
            CheckFailed: a value is not finite.
        """
        if not len(crops):
            return np.empty((0, len(self.joint_names), 3), np.float32)
        batch = min(len(crops), self.network.largest_batch or len(crops))
        if len(self._planes) < batch:
            self._planes = np.empty((batch, *self._planes.shape[1:]), np.float32)
        parts = [crops[start : start + batch] for start in range(0, len(crops), batch)]
        joints = [self.network.run(normalise(part, self._planes[: len(part)])) for part in parts]
        bins = joints[0] if len(joints) == 1 else np.concatenate(joints)
        if not np.isfinite(bins).all():
            value = f"{int((~np.isfinite(bins)).sum())} of {bins.size} values are not finite, {self.network.describe()}"
            advice = "run verify.py; try another runtime or precision"
            raise CheckFailed("the network computes no pose", value, advice)
        return bins

    def close(self) -> None:
        """Release the network and its memory."""
        if not self._closed:
            self._closed = True
            self.network.close()


def require_threads(threads: int | None) -> None:
    """Check a number of threads; None leaves it to the runtime.

    Raises:
        BadInput: it is not between 1 and the number of cores.
    """
    cores = os.cpu_count() or 1
    if threads is not None and not 1 <= threads <= cores:
        raise BadInput("impossible number of threads", f"{threads} threads", f"give 1 to {cores}, or none")


def as_boxes(boxes: Any, width: int, height: int) -> list[Sequence[float]]:
    """Turn one box or many into a list of four numbers each; None is the whole image.

    Raises:
        BadInput: other shapes.
    """
    if boxes is None:
        return [(0.0, 0.0, float(width), float(height))]
    try:
        array = np.asarray(boxes, np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput("these are no boxes", f"{type(boxes).__name__}: {error}", BOX_FORM) from error
    if array.shape == (4,):
        array = array[None]
    if array.size == 0:
        return []
    if array.ndim != 2 or array.shape[1] != 4:
        raise BadInput("these are no boxes", f"shape {array.shape}", BOX_FORM)
    return [tuple(box) for box in array]
