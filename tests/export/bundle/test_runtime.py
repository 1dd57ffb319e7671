"""The runtime that a bundle contains: it finds the joints that ``predict`` finds."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pose_runtime
import pytest
from pose_runtime import Pose
from pose_runtime import pose as device_pose
from pose_runtime.bundle import Bundle
from pose_runtime.runtime import registry

from bench.predict.prediction import predict
from bench.sessions.exported import load_session, read_export
from export.images.figures import EVALUATION_SEED, Scene, draw_scene
from export.images.photo import from_pixels
from export.runtime.openvino import saturates
from tests.support.bundles import DEVICE, copied, flip_last, rewrite


@pytest.fixture(scope="module")
def scene() -> Scene:
    return draw_scene(EVALUATION_SEED, 4)


@pytest.fixture
def pose(once_bundle: Path) -> Iterator[Pose]:
    pose = Pose.load(once_bundle, runtime="onnxruntime", precision="fp32", threads=1)
    yield pose
    pose.close()


@pytest.fixture
def only_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the other runtimes."""
    for module in (registry, device_pose):
        monkeypatch.setattr(module, "installed", lambda name: name == "onnxruntime")


def test_joints_are_those_of_predict(once_export: Path, pose: Pose, scene: Scene) -> None:
    exported = read_export(once_export)
    backend = load_session(exported, "onnxruntime", "fp32", 1)
    expected = predict(exported, backend, from_pixels(scene.image, "scene"), scene.person_box)
    joints_px, joints_mm = pose(scene.image, [scene.person_box])
    np.testing.assert_array_equal(joints_px[0], expected.image_px)
    np.testing.assert_array_equal(joints_mm[0], expected.cube_mm)
    assert pose.joint_names == exported.joint_set.joints
    assert (pose.runtime, pose.precision, pose.weights_origin) == ("onnxruntime", "fp32", "checkpoint")


def test_a_batch_has_the_joints_of_single_calls(pose: Pose, scene: Scene) -> None:
    x, y, width, height = scene.person_box
    boxes = [(x + 9 * shift, y - 5 * shift, width, height) for shift in range(5)]
    together = pose(scene.image, boxes)
    assert (together[0].shape, together[1].shape) == ((5, 18, 2), (5, 18, 3))
    for index, box in enumerate(boxes):
        single = pose(scene.image, np.array(box))
        np.testing.assert_allclose(together[0][index], single[0][0], atol=1e-3)
        np.testing.assert_allclose(together[1][index], single[1][0], atol=1e-2)
    for empty in (np.empty((0, 4)), np.array([])):
        assert [part.shape for part in pose(scene.image, empty)] == [(0, 18, 2), (0, 18, 3)]
    height, width = scene.image.shape[:2]
    np.testing.assert_array_equal(pose(scene.image)[0], pose(scene.image, (0, 0, width, height))[0])


def test_a_later_call_changes_no_earlier_result(pose: Pose, scene: Scene) -> None:
    first = pose(scene.image, scene.person_box)
    copies = [part.copy() for part in first]
    pose(scene.image[::-1], [scene.person_box] * 5)
    for part, copy in zip(first, copies, strict=True):
        np.testing.assert_array_equal(part, copy)


def test_a_batch_above_the_networks_largest_is_split(pose: Pose, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [scene.person_box] * 5
    expected = pose(scene.image, boxes)[0]
    sizes: list[int] = []
    run = pose.network.run

    def count(images: Any) -> Any:
        sizes.append(len(images))
        return run(images)

    monkeypatch.setattr(pose.network, "largest_batch", 2)
    monkeypatch.setattr(pose.network, "run", count)
    np.testing.assert_allclose(pose(scene.image, boxes)[0], expected, atol=1e-3)
    assert sizes == [2, 2, 1]


IMAGE = np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "boxes", "message"),
    [
        (IMAGE.astype(np.float32), None, "this is no image.*float32"),
        (IMAGE[..., 0], None, r"this is no image.*\(8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), None, "this is no image"),
        ([[1]], None, "this is no image.*list"),
        (IMAGE, [(1, 2, 3)], r"no boxes.*\(1, 3\)"),
        (IMAGE, [(1, 2, np.nan, 3)], "box 0: .* no area.*width=nan"),
        (IMAGE, [(np.nan, 2, 3, 3)], "box 0: .* no area.*x=nan"),
        (IMAGE, "abc", "no boxes.*str"),
        (IMAGE, [(1, 2, 3, 4), (1, 2)], "no boxes.*list"),
        (IMAGE, {"x": 1}, "no boxes.*dict"),
        (IMAGE, [(0, 0, 8, 8), (20, 20, 4, 4)], "box 1: .*no area inside the image.*x=20.*skip_bad_boxes"),
    ],
)
def test_wrong_images_and_boxes_are_refused(pose: Pose, image: Any, boxes: Any, message: str) -> None:
    with pytest.raises(pose_runtime.BadInput, match=message):
        pose(image, boxes)


@pytest.mark.parametrize("bad", [(10, 10, 0, 0), (9999, 9999, 5, 5), (np.nan, 0, 5, 5)])
def test_bad_boxes_are_skipped_on_request(pose: Pose, scene: Scene, bad: Any) -> None:
    expected = pose(scene.image, [scene.person_box])
    joints = pose(scene.image, [bad, scene.person_box, bad], skip_bad_boxes=True)
    for part, single in zip(joints, expected, strict=True):
        assert np.isnan(part[[0, 2]]).all()
        np.testing.assert_array_equal(part[1], single[0])
    assert np.isnan(pose(scene.image, bad, skip_bad_boxes=True)[0]).all()


def test_a_call_after_close_is_refused(pose: Pose) -> None:
    pose.close()
    pose.close()
    with pytest.raises(pose_runtime.BadInput, match="was closed"):
        pose(IMAGE)


def test_joints_that_are_not_finite_are_refused(pose: Pose) -> None:
    pose.network.run = lambda images: np.full((len(images), 18, 3), np.nan, np.float32)
    with pytest.raises(pose_runtime.CheckFailed, match=r"computes no pose.*54 of 54"):
        pose(IMAGE)


# ── loading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_every_precision_finds_the_same_person(
    once_bundle: Path, pose: Pose, scene: Scene, runtime: str, precision: str
) -> None:
    impossible = [("onnxruntime", "bf16")] + [("openvino", "int8")] * saturates()
    if (runtime, precision) in impossible:
        with pytest.raises(pose_runtime.NotPossible):
            Pose.load(once_bundle, runtime, precision)
        return
    joints_px = Pose.load(once_bundle, runtime, precision, threads=1)(scene.image, scene.person_box)[0]
    truth = pose(scene.image, scene.person_box)[0]
    assert np.linalg.norm(joints_px - truth, axis=2).mean() < 2  # pixels of an image of several hundred


def test_auto_takes_the_first_runtime_that_works(once_bundle: Path, only_onnx_runtime: None) -> None:
    pose = Pose.load(once_bundle)
    assert (pose.runtime, pose.precision) == ("onnxruntime", "fp16")
    assert list(pose.passed_over) == ["tensorrt", "tensorrt_rtx", "openvino"]
    assert all("is not installed" in reason for reason in pose.passed_over.values())
    with pytest.raises(pose_runtime.NotPossible, match=r"nothing here runs bf16.*no BF16 convolution"):
        Pose.load(once_bundle, precision="bf16")


def test_an_unusable_gpu_runtime_causes_a_warning(once_bundle: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    if registry.installed("tensorrt"):
        pytest.skip("tensorrt is installed")
    with pytest.warns(UserWarning, match=r"tensorrt_rtx is installed and not used: .*NVIDIA"):
        Pose.load(once_bundle, threads=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"precision": "fp8"}, pose_runtime.BadInput, "no fp8 in this bundle.*fp32, fp16, bf16, int8"),
        ({"runtime": "pytorch"}, pose_runtime.BadInput, "unknown runtime"),
        ({"threads": 0}, pose_runtime.BadInput, "impossible number of threads"),
        ({"threads": -1}, pose_runtime.BadInput, "impossible number of threads"),
        ({"threads": 99_999}, pose_runtime.BadInput, "impossible number of threads"),
        ({"runtime": "onnxruntime", "precision": "bf16"}, pose_runtime.NotPossible, "no BF16 convolution"),
    ],
)
def test_wrong_options_are_refused(
    once_bundle: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Pose.load(once_bundle, **options)


def test_only_files_of_the_manifest_are_loaded(once_bundle: Path, tmp_path: Path) -> None:
    bundle = copied(once_bundle, tmp_path)
    rewrite(bundle / "onnx/once-fp32.onnx", flip_last)
    for runtime in ("onnxruntime", "openvino"):
        with pytest.raises(pose_runtime.CheckFailed, match=r"onnx/once-fp32\.onnx was changed"):
            Pose.load(bundle, runtime, "fp32")
    rewrite(bundle / "pose_runtime/runtime/int8_probe.onnx", flip_last)
    with pytest.raises(pose_runtime.CheckFailed, match="int8_probe"):
        Pose.load(bundle, runtime="openvino", precision="int8")
    with pytest.raises(pose_runtime.BadInput, match="there is no bundle"):
        Pose.load(tmp_path)
    opened = Bundle(bundle)
    with pytest.raises(pose_runtime.CheckFailed, match="not in the manifest"):
        opened.content("device-report.json")
    opened._listed["../secret"] = {"sha256": "0"}
    (tmp_path / "secret").write_bytes(b"secret")
    with pytest.raises(pose_runtime.CheckFailed, match="outside of the bundle"):
        opened.content("../secret")


@pytest.mark.parametrize(("version", "right"), [("1.29.0", False), ("1.30.0", True)])
def test_an_onnx_runtime_with_wrong_int8_is_not_used_for_it(
    once_bundle: Path, only_onnx_runtime: None, monkeypatch: pytest.MonkeyPatch, version: str, right: bool
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "__version__", version)
    assert Pose.load(once_bundle, "auto", "fp16", threads=1).runtime == "onnxruntime"
    if right:
        assert Pose.load(once_bundle, "auto", "int8", threads=1).runtime == "onnxruntime"
        return
    with pytest.raises(pose_runtime.NotPossible, match=rf"int8.*{version} computes INT8 files wrongly"):
        Pose.load(once_bundle, "auto", "int8", threads=1)


def test_the_import_loads_no_runtime() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import pose_runtime; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-c", code, str(DEVICE)], capture_output=True, text=True, check=True)
    modules = {name.split(".")[0] for name in run.stdout.split()}
    assert "pose_runtime" in modules
    assert not modules & {"onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "torch", "export", "bench", "cli"}
