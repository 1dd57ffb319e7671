"""Reports of steps as they are written."""

from export.pipeline.reports import ImagesReport
from tests.support.planted_manifest import parity


def test_only_images_of_parity_name_a_file_of_norms() -> None:
    """Readers of the manifest refuse keys that they do not know, and calibration images never had this one."""
    images = parity("S", "fp32")["images"]
    assert ImagesReport.model_validate(images).model_dump(mode="json") == images
    del images["statistics"]["every_norm"]
    assert ImagesReport.model_validate(images).model_dump(mode="json") == images
