"""Time from one person in a photo in memory to joints in the photo's pixels, in all and for each stage.

The functions are those of ``convnextpose predict``: crop, normalisation, network, back to pixels. Reading and decoding
an image file is not included, and the person's box is given, as a detector would give it.
"""

import gc
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from bench.predict.prediction import Prediction, predict
from bench.sessions.exported import ExportFolder
from bench.sessions.inference import STAGES, Lap
from bench.sessions.protocol import Session
from export.images.photo import Photo
from export.runtime.pose import Box

WIDTH, HEIGHT = 1280, 720
UNRECORDED, FEWEST, MOST = 2, 3, 200


class Predictor:
    """A callable that finds the joints of the person in a drawn photo; it is sent to a worker."""

    def __init__(self, exported: ExportFolder) -> None:
        self._exported = exported
        self._scene: tuple[Photo, Box] | None = None

    def __call__(self, session: Session, lap: Lap) -> Prediction:
        """Find the joints once; the first call draws the photo."""
        if self._scene is None:
            self._scene = drawn_photo()
        return predict(self._exported, session, *self._scene, lap=lap)


def drawn_photo() -> tuple[Photo, Box]:
    """Return a photo of 1280 × 720 with a drawn person, upright and in the middle, and the person's box."""
    import cv2  # not at the top: the memory of timed workers is compared

    from export.images.figures import EVALUATION_SEED, IMAGE_SIZE, draw_scene

    scene, scale = draw_scene(EVALUATION_SEED, 0), HEIGHT / IMAGE_SIZE
    scaled = cv2.resize(scene.image, (HEIGHT, HEIGHT), interpolation=cv2.INTER_AREA)
    left = (WIDTH - HEIGHT) // 2
    wide = cv2.copyMakeBorder(scaled, 0, 0, left, WIDTH - HEIGHT - left, cv2.BORDER_REPLICATE)
    x, y, width, height = (value * scale for value in scene.person_box)
    return Photo(np.asarray(wide, np.uint8), (), None), (x + left, y, width, height)


def measure_image_to_joints(
    predictor: Callable[[Lap], object], seconds: float, clock: Callable[[], int] = time.perf_counter_ns
) -> dict[str, float | None]:
    """Return plain data for ``ImageToJoints`` from about so many seconds, but at least three runs."""
    totals: list[int] = []
    laps: dict[str, list[int]] = {stage: [] for stage in STAGES}
    for _ in range(UNRECORDED):
        predictor(lambda stage: None)
    collecting = gc.isenabled()
    gc.disable()
    try:
        began = clock()
        while len(totals) < FEWEST or (len(totals) < MOST and clock() - began < seconds * 1e9):
            ends: dict[str, int] = {}
            started = clock()
            predictor(lambda stage, ends=ends: ends.__setitem__(stage, clock()))  # type: ignore[misc]
            totals.append(clock() - started)
            for stage, ended in ends.items():
                laps[stage].append(ended - started)
                started = ended
    finally:
        if collecting:
            gc.enable()
    return {
        "image_width": WIDTH,
        "image_height": HEIGHT,
        "samples": len(totals),
        "total_p50_ms": median(totals) / 1e6,
        **{f"{stage}_p50_ms": median(times) / 1e6 if times else None for stage, times in laps.items()},
    }
