"""Drawn figures as a dataset: always available, with exact annotations."""

from typing import Any

import numpy as np

from bench.datasets.protocol import Sample
from export.common.errors import BadInput
from export.images.figures import CROP_SIZE, EVALUATION_SEED, draw_figure
from export.model.joint_sets import HUMAN36M
from export.runtime.pose import crop_to_image


class DrawnFigures:
    """Figures of the evaluation's seed, which no training uses."""

    joint_set = HUMAN36M
    counted = tuple(j for j, name in enumerate(HUMAN36M.joints) if name != "Thorax")
    root = 0
    mirrors = False
    """The colours of a mirrored figure are on the wrong sides."""
    flip = False
    published: str | None = None
    notes: tuple[str, ...] = ()

    def __init__(self, count: int, input_size: int) -> None:
        if input_size != CROP_SIZE:
            advice = "evaluate on a dataset of photographs"
            raise BadInput(f"figures are drawn {CROP_SIZE} pixels large", f"the model takes {input_size}", advice)
        self.name = "drawn figures"
        self.count = count
        self.identity: dict[str, Any] = {"dataset": self.name, "seed": EVALUATION_SEED, "count": count}

    def __len__(self) -> int:
        """Return the number of figures."""
        return self.count

    def sample(self, index: int) -> Sample:
        """Draw one figure."""
        figure = draw_figure(EVALUATION_SEED, index)
        return Sample(
            name=f"figure {index}",
            group=None,
            crop=figure.image,
            box=figure.box,
            joints_px=crop_to_image(figure.joints_px, figure.box, CROP_SIZE),
            joints_mm=figure.joints_mm,
            annotated=np.ones(len(figure.joints_mm), bool),
            camera=figure.camera,
            root_depth_mm=figure.root_depth_mm,
        )
