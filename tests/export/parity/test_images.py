"""Parity images: enough of them, and none that calibration saw."""

from pathlib import Path

import numpy as np
import pytest

from export.common.errors import BadInput
from export.images.image_set import ImageSet
from export.parity.images import parity_images, require_disjoint
from export.plan.calibration import drawn_calibration
from tests.support.photos import write_crops


def test_calibration_images_are_refused() -> None:
    drawn, calibration = parity_images(256), drawn_calibration(256)
    assert len(drawn.images) >= 64
    require_disjoint(drawn, calibration.record)
    both = ImageSet(np.concatenate([calibration.images[:1], drawn.images]), "both")
    with pytest.raises(BadInput, match="1 images are both in"):
        require_disjoint(both, calibration.record)


def test_a_folder_needs_enough_images(tmp_path: Path) -> None:
    assert len(parity_images(64, write_crops(tmp_path / "enough", 64)).images) == 64
    with pytest.raises(BadInput, match="63 readable of 63"):
        parity_images(64, write_crops(tmp_path / "few", 63))
