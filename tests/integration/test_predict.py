"""A photo in, a pose out: from an exported folder, as users call it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bench.predict.picture import HEIGHT, PANEL
from bench.predict.prediction import predict
from bench.sessions.exported import read_export
from bench.sessions.inference import run_network
from export.common.errors import CheckFailed
from export.images.figures import EVALUATION_SEED, Scene, draw_scene
from export.images.photo import Photo
from export.model.camera import Array
from export.model.joint_sets import HUMAN36M
from export.runtime.pose import Volume
from tests.support.command_line import ROOT, assert_three_parts, in_process
from tests.support.photos import write_rgb, write_rotated_jpeg

Call = Callable[..., subprocess.CompletedProcess[str]]
NEAR_PX = 12.0
"""The demo checkpoint is a few pixels off in these images, whose figures are 300 pixels large."""


@pytest.fixture(scope="module")
def scene() -> Scene:
    return draw_scene(EVALUATION_SEED, 4)


def box_of(scene: Scene) -> str:
    return ",".join(f"{value:.1f}" for value in scene.person_box)


@pytest.fixture
def place(tmp_path: Path, demo_export: Path, scene: Scene) -> Path:
    """The export, linked, and a photo."""
    model = tmp_path / "model"
    shutil.copytree(demo_export, model, copy_function=lambda a, b: Path(b).hardlink_to(a))
    write_rgb(tmp_path / "photo.png", scene.image)
    return tmp_path


@pytest.fixture
def call(place: Path) -> Call:
    return lambda *args: in_process("predict", *args, cwd=place)


def record_of(place: Path, name: str = "photo.png-fp32-onnxruntime") -> dict[str, Any]:
    return dict(json.loads((place / f"model/predictions/{name}.json").read_text()))


def off_px(record: dict[str, Any], truth: Array) -> float:
    return float(np.linalg.norm(np.array(record["joints_image_px"]) - truth, axis=1).mean())


def test_the_skeleton_lies_on_the_figure(call: Call, place: Path, scene: Scene) -> None:
    run = call("model", "photo.png", "--bbox", box_of(scene))
    assert run.returncode == 0, run.stderr
    record = record_of(place)
    assert off_px(record, scene.joints_px) < NEAR_PX
    assert record["schema_version"] == "1.1"
    assert record["joint_names"] == list(HUMAN36M.joints)
    assert record["weights"]["origin"] == "demo"
    assert record["joints_camera_mm"] is None
    assert "says nothing about people" in run.stderr
    picture = cv2.imread(str(place / "model/predictions/photo.png-fp32-onnxruntime.png"), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    assert picture.shape == (HEIGHT, HEIGHT * 3 // 2, 3)


def test_onnx_runtime_needs_no_torch(place: Path, scene: Scene) -> None:
    """That is what makes it quick."""
    code = (
        "import sys; from cli.main import run\n"
        f"sys.argv = ['convnextpose', 'predict', 'model', 'photo.png', '--bbox', '{box_of(scene)}']\n"
        "try: run()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "assert not {'torch', 'onnx', 'scipy'} & sys.modules.keys()\n"
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", code], cwd=place, env=environment, check=True, capture_output=True)


def test_known_camera_and_distance_give_true_millimetres(call: Call, place: Path, scene: Scene) -> None:
    lens = scene.camera
    depth = scene.joints_mm[0, 2]
    options = ("--camera", f"{lens.fx},{lens.fy},{lens.cx},{lens.cy}", "--root-depth", depth)
    assert call("model", "photo.png", "--bbox", box_of(scene), *options).returncode == 0
    seen = np.array(record_of(place)["joints_camera_mm"])
    assert np.linalg.norm(seen - scene.joints_mm, axis=1).mean() < 80


def test_without_a_box_the_whole_photo_is_taken_and_that_is_said(call: Call, place: Path, scene: Scene) -> None:
    x, y, w, h = (round(value) for value in scene.person_box)
    write_rgb(place / "person.png", scene.image[y : y + h, x : x + w])
    run = call("model", "person.png")
    assert run.returncode == 0
    assert "no person's box was given" in run.stderr
    assert off_px(record_of(place, "person.png-fp32-onnxruntime"), scene.joints_px - (x, y)) < NEAR_PX


def test_a_rotated_jpeg_is_seen_upright(call: Call, place: Path, scene: Scene) -> None:
    write_rotated_jpeg(place / "turned.jpg", scene.image)
    assert call("model", "turned.jpg", "--bbox", box_of(scene)).returncode == 0
    assert off_px(record_of(place, "turned.jpg-fp32-onnxruntime"), scene.joints_px) < NEAR_PX


def test_pixels_divided_by_255_are_warned_of_and_spoil_the_pose(call: Call, place: Path, scene: Scene) -> None:
    write_rgb(place / "scaled.tiff", (scene.image / 255).astype(np.float32))
    run = call("model", "scaled.tiff", "--bbox", box_of(scene))
    assert run.returncode == 0
    assert "divided by 255" in run.stderr
    record = record_of(place, "scaled.tiff-fp32-onnxruntime")
    assert record["warnings"]
    assert off_px(record, scene.joints_px) > 3 * NEAR_PX


@pytest.mark.parametrize("outcome", ["inconclusive", "fail", None])
def test_weights_whose_parity_is_not_passed_are_warned_of(call: Call, place: Path, outcome: str | None) -> None:
    path = place / "model/manifest.json"
    plain = json.loads(path.read_text())
    plain["parity"] = [report | {"outcome": outcome} for report in plain["parity"] if outcome]
    path.unlink()  # a hard link: the export's own file stays
    path.write_text(json.dumps(plain))
    run = call("model", "photo.png", "--out", "doubted.png")
    assert run.returncode == 0, run.stderr
    said = f"the parity of fp32 is {outcome}" if outcome else "the parity of fp32 was not measured"
    [warning] = json.loads((place / "doubted.json").read_text())["warnings"]
    assert said in warning
    assert f"warning: {said}" in " ".join(run.stderr.split())


@pytest.mark.parametrize(
    "wrong",
    [
        ("model", "photo.png", "--bbox", "2000,10,50,50"),
        ("model", "photo.png", "--bbox", "a,b,c,d"),
        ("model", "photo.png", "--runtime", "abacus"),
        ("model", "photo.png", "--runtime", "pytorch", "--precision", "fp16"),
        ("model", "photo.png", "--camera", "1000,1000,500,500"),
        ("model", "photo.png", "--camera", "0,1000,500,500", "--root-depth", "3000"),
        ("model", "photo.png", "--camera", "1000,1000,500,500", "--root-depth", "nan"),
        ("model", "photo.png", "--out", "photo.png"),
        ("model", "photo.png", "--flip"),
        ("model", "photo.png", "--compare", "fp32"),
        ("model", "photo.png", "--compare", "bf16"),
        ("model", "model/manifest.json"),
        ("nowhere", "photo.png"),
    ],
)
def test_what_cannot_be_meant_is_refused(call: Call, place: Path, wrong: tuple[str, ...]) -> None:
    before = sorted(place.rglob("*"))
    assert_three_parts(call(*wrong), 2)
    assert sorted(place.rglob("*")) == before


def test_an_onnx_file_that_was_changed_is_refused(call: Call, place: Path) -> None:
    path = place / "model/onnx/XS-atto-fp32.onnx"
    changed = path.read_bytes() + b"\0"
    path.unlink()  # a hard link: the export's own file stays
    path.write_bytes(changed)
    run = call("model", "photo.png")
    assert_three_parts(run, 2)
    assert "does not match the manifest" in run.stderr


class Told:
    """A backend that says what it is told."""

    runtime, precision, takes_pixels = "told", "fp32", False

    def __init__(self, answer: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        self.run = answer

    def describe(self) -> str:
        return "told"

    def close(self) -> None:
        pass


def test_a_model_that_says_nan_is_a_failed_check(demo_export: Path) -> None:
    told = Told(lambda images: np.full((len(images), 18, 3), np.nan, np.float32))
    photo = Photo(np.zeros((64, 64, 3), np.uint8), (), None)
    with pytest.raises(CheckFailed):
        predict(read_export(demo_export), told, photo)


def test_flip_averaging_undoes_a_lean_to_one_side() -> None:
    """A network that errs to the right of whatever it sees errs to the left in the mirrored crop."""
    rng = np.random.default_rng(0)
    truth, volume = rng.uniform(0, 31, (1, 18, 3)), Volume(32, 32, 256)
    crops = rng.integers(0, 256, (1, 256, 256, 3), np.uint8)
    lean = np.array([0.5, 0, 0])
    answers = iter([truth + lean, volume.mirrored(truth, HUMAN36M.mirror_pairs) + lean])
    seen: list[NDArray[Any]] = []

    def answer(images: NDArray[Any]) -> NDArray[Any]:
        seen.append(images)
        return next(answers)

    np.testing.assert_allclose(run_network(Told(answer), crops, volume, HUMAN36M.mirror_pairs), truth)
    assert np.array_equal(seen[1], seen[0][..., ::-1])


def test_two_precisions_stand_side_by_side_with_their_distance(once_export: Path, tmp_path: Path, scene: Scene) -> None:
    write_rgb(tmp_path / "photo.png", scene.image)
    args = ("predict", once_export, "photo.png", "--bbox", box_of(scene), "--precision", "int8")
    run = in_process(*args, "--compare", "fp32", "--out", "both.png", "--json", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    record = json.loads(run.stdout)
    other = in_process(*args[:-1], "fp32", "--out", "fp32.png", "--json", cwd=tmp_path)
    mm = np.linalg.norm(np.subtract(record["joints_cube_mm"], json.loads(other.stdout)["joints_cube_mm"]), axis=1)
    assert record["difference"] == {
        "precision": "fp32",
        "mean_mm": pytest.approx(mm.mean()),
        "max_mm": pytest.approx(mm.max()),
        "farthest": record["joint_names"][mm.argmax()],
    }
    both, alone = (cv2.imread(str(tmp_path / name)) for name in ("both.png", "fp32.png"))
    assert both is not None
    assert alone is not None
    photo_width = alone.shape[1] - PANEL
    assert both.shape[1] == alone.shape[1] + photo_width
    assert np.array_equal(both[:, :photo_width], alone[:, :photo_width])


def test_a_compared_precision_that_is_not_proven_is_warned_of(once_export: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(once_export, model, copy_function=lambda a, b: Path(b).hardlink_to(a))
    plain = json.loads((model / "manifest.json").read_text())
    plain["parity"] = [row | {"outcome": "fail"} if row["edition"] == "int8" else row for row in plain["parity"]]
    (model / "manifest.json").unlink()  # a hard link: the export's own file stays
    (model / "manifest.json").write_text(json.dumps(plain))
    write_rgb(tmp_path / "photo.png", np.zeros((64, 64, 3), np.uint8))
    run = in_process("predict", "model", "photo.png", "--compare", "int8", "--json", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    [warning] = json.loads(run.stdout)["warnings"]
    assert "the parity of int8 is fail" in warning
    assert "the parity of int8 is fail" in " ".join(run.stderr.split())


def test_a_warning_is_drawn_into_the_picture(call: Call, place: Path) -> None:
    call("model", "photo.png", "--out", "proven.png")
    path = place / "model/manifest.json"
    plain = json.loads(path.read_text())
    plain["parity"][0]["outcome"] = "inconclusive"
    path.unlink()
    path.write_text(json.dumps(plain))
    call("model", "photo.png", "--out", "doubted.png")
    proven, doubted = (cv2.imread(str(place / name)) for name in ("proven.png", "doubted.png"))
    assert proven is not None
    assert doubted is not None
    changed = np.argwhere((np.asarray(proven) != np.asarray(doubted)).max(axis=-1))
    assert len(changed) > 500
    assert changed[:, 0].max() < 90  # a line of text below the title
