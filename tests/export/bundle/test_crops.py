"""A bundle with goldens of the user's own crops."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from export.bundle.goldens import COUNT
from export.bundle.write import BundlePlan, write_bundle
from export.common.errors import BadInput
from export.common.files import write_image
from export.images.figures import EVALUATION_SEED, draw_figures
from tests.support.bundles import manifest_of


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    for index, figure in enumerate(draw_figures(COUNT, EVALUATION_SEED)):
        write_image(folder / f"{index:02}.png", figure.image)
    return folder


def test_goldens_of_the_users_crops(once_export: Path, tmp_path: Path, crops: Path) -> None:
    bundle = write_bundle(once_export, tmp_path, BundlePlan(with_engines=False, images=crops, archive=False))
    assert {row.status for row in bundle.verified} <= {"pass", "not run"}
    assert sum(row.status == "pass" for row in bundle.verified) >= 6
    source = f"crops from folder {crops.name}"
    assert manifest_of(bundle.folder).golden.source == source
    notice = (bundle.folder / "licences/NOTICE.md").read_text()
    assert f"{source}. They belong to the author of this bundle" in notice
    assert "TensorRT-RTX" not in notice  # without engines
    with np.load(bundle.folder / "golden.npz") as file:
        assert file["images"].shape == (16, 256, 256, 3)
        np.testing.assert_array_equal(file["images"][0], draw_figures(1, EVALUATION_SEED)[0].image)
        assert set(file) >= {"reference_fp32", "reference_fp16", "reference_bf16", "reference_int8"}


def test_too_few_crops_are_refused(once_export: Path, tmp_path: Path, crops: Path) -> None:
    few = Path(shutil.copytree(crops, tmp_path / "few"))
    (few / "03.png").unlink()
    with pytest.raises(BadInput, match="15 readable of 15"):
        write_bundle(once_export, tmp_path / "out", BundlePlan(images=few))
    shutil.copyfile(few / "04.png", few / "03.png")
    with pytest.raises(BadInput, match="16 distinct images"):
        write_bundle(once_export, tmp_path / "out", BundlePlan(images=few))
