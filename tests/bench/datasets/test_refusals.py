"""What every reader refuses, and names: another layout, other JSON, wrong values, missing or broken images."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.datasets.images import SIZE_TOLERANCE_PX
from export.common.errors import BadInput
from tests.bench.datasets.readers import ANNOTATIONS, IMAGES, READERS, Edit, edit, every_dataset, samples
from tests.support.tiny_datasets import HEIGHT, WIDTH


@every_dataset
def test_missing_images_are_counted_and_named(folder: Path, name: str) -> None:
    read = READERS[name][1]
    before = read(folder)
    names = [sample.name for sample in samples(before)]
    gone = names[0].split(" (")[0]
    (folder / IMAGES[name] / gone).unlink()
    after = read(folder)
    assert any("1 of " in note and "missing" in note and gone in note for note in after.notes)
    left = [person for person in names if not person.startswith(gone)]
    assert [sample.name for sample in samples(after)] == left


@every_dataset
def test_no_image_at_all_is_refused(folder: Path, name: str) -> None:
    shutil.rmtree(folder / IMAGES[name])
    (folder / IMAGES[name]).mkdir()
    with pytest.raises(BadInput, match=r"none of \d+ annotated images"):
        READERS[name][1](folder)


@every_dataset
def test_an_image_that_is_none_is_named(folder: Path, name: str) -> None:
    dataset = READERS[name][1](folder)
    path = folder / IMAGES[name] / dataset.sample(0).name.split(" (")[0]
    for content in (b"", b"no image", path.read_bytes()[:40]):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=re.escape(path.name)):
            dataset.sample(0)
    path.unlink()
    with pytest.raises(BadInput, match=re.escape(path.name)):
        dataset.sample(0)


@every_dataset
def test_an_image_of_another_size_is_refused(folder: Path, name: str) -> None:
    dataset = READERS[name][1](folder)
    path = folder / IMAGES[name] / dataset.sample(0).name.split(" (")[0]
    cv2.imwrite(str(path), np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.uint8))
    with pytest.raises(BadInput, match=f"{WIDTH // 2}×{HEIGHT // 2} pixels, annotated {WIDTH}×{HEIGHT}"):
        dataset.sample(0)
    cv2.imwrite(str(path), np.zeros((HEIGHT - SIZE_TOLERANCE_PX, WIDTH, 3), np.uint8))
    assert dataset.sample(0).crop.max() == 0


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["no folder", "empty", "file"])
def test_another_layout_is_refused_with_what_was_expected_and_found(name: str, kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "somewhere"
    found = {"no folder": "there is no such folder", "empty": "contains nothing", "file": "it is a file"}
    if kind == "empty":
        folder.mkdir()
    if kind == "file":
        folder.touch()
    with pytest.raises(BadInput, match=f"is missing.*{found[kind]}.*expected") as caught:
        READERS[name][1](folder)
    assert Path(ANNOTATIONS[name]).name.replace("11", "{S}") in caught.value.advice


@pytest.mark.parametrize("name", READERS)
def test_the_folder_above_is_refused_and_listed(name: str, tmp_path: Path) -> None:
    READERS[name][0](tmp_path / "the dataset")
    for number in range(12):
        (tmp_path / f"zz{number:02d}").touch()
    with pytest.raises(BadInput, match=r"the dataset/, zz00, .* 5 more"):
        READERS[name][1](tmp_path)


@every_dataset
@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"images": [}', b"\xff\xfe{}", b"[" * 100_000], ids=lambda c: repr(c[:12])
)
def test_invalid_json_is_refused(folder: Path, name: str, content: bytes) -> None:
    path = folder / ANNOTATIONS[name]
    path.write_bytes(content)
    with pytest.raises(BadInput, match=f"{path.name} is not valid JSON"):
        READERS[name][1](folder)


@every_dataset
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings_of_windows_tools_are_read(folder: Path, name: str, encoding: str) -> None:
    path = folder / ANNOTATIONS[name]
    people = len(READERS[name][1](folder))
    path.write_bytes(path.read_text().encode(encoding))
    assert len(READERS[name][1](folder)) == people


@every_dataset
def test_json_of_another_kind_is_refused(folder: Path, name: str) -> None:
    (folder / ANNOTATIONS[name]).write_text("[]")
    with pytest.raises(BadInput, match=r"does not contain valid annotations.*the whole file"):
        READERS[name][1](folder)


@every_dataset
@pytest.mark.parametrize(("part", "key"), [("images", "file_name"), ("images", "width"), ("annotations", "image_id")])
def test_a_missing_key_is_named(folder: Path, name: str, part: str, key: str) -> None:
    edit(folder / ANNOTATIONS[name], lambda document: document[part][1].pop(key))
    with pytest.raises(BadInput, match=rf"{part}\.1\.{key}: Field required"):
        READERS[name][1](folder)


@every_dataset
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["images"][0].update(width=0), r"images\.0\.width"),
        (lambda d: d["images"][0].update(height="tall"), r"images\.0\.height.*'tall'"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, float("nan"), 4]), r"annotations\.0\.bbox\.2.*finite"),
        (lambda d: d["annotations"][0].update(image_id=12345), "12345, which is not the id of any"),
        (lambda d: d["images"][1].update(id=d["images"][0]["id"]), "1 image ids occur twice"),
        (lambda d: d["images"][0].update(file_name="../../secret.jpg"), "outside the dataset.*'../../secret.jpg'"),
        (lambda d: d["images"][0].update(file_name="/secret.jpg"), "outside the dataset"),
        (lambda d: d["annotations"].clear(), "nobody to evaluate.*no annotations"),
    ],
)
def test_a_wrong_value_is_named(folder: Path, name: str, change: Edit, message: str) -> None:
    if name == "Human3.6M":
        (folder / "annotations" / "Human36M_subject9_data.json").write_text('{"images": [], "annotations": []}')
    edit(folder / ANNOTATIONS[name], change)
    with pytest.raises(BadInput, match=message):
        READERS[name][1](folder)
