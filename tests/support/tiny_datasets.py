"""Datasets of a few kilobytes in the formats of the real ones: random poses before random cameras, drawn images.

Each function writes into a folder and returns what is true of every person it wrote, by the person's name.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from bench.datasets.human36m import ACTIONS, EVERY_FRAME, FIRST_ACTION
from export.images.skeleton import random_joints
from export.model.camera import Array, Camera
from export.model.joint_sets import HUMAN36M
from export.runtime.pose import Box

WIDTH, HEIGHT = 240, 200
BOX_MARGIN_PX = 6.0
PELVIS_COLOUR = (220, 30, 60)
"""RGB: what an image shows where a person's pelvis is."""
PELVIS_RADIUS_PX = 3

COCO_NAMES = {
    "Pelvis": "pelvis",
    "Nose": "nose",
    "Head": "HEAD",
    "R_Hip": "right_hip",
    "L_Hip": "LeftHip",
    "R_Knee": "rknee",
    "L_Knee": "l_knee",
    "R_Ankle": "Right Ankle",
    "L_Ankle": "left-ankle",
    "L_Shoulder": "L_Shoulder",
    "R_Shoulder": "R_Shoulder",
    "L_Elbow": "left_elbow",
    "R_Elbow": "right_elbow",
    "L_Wrist": "lwrist",
    "R_Wrist": "RWrist",
}
"""Spellings of the annotated joints; torso, neck and thorax are not annotated."""
COCO_KEYPOINTS = ("left_ear", *sorted(COCO_NAMES.values()), "right_ear")
"""In another order than the network's, with two that it lacks."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of one person."""

    image: Path
    joints_cam: Array
    """(J, 3) in the camera's coordinates, mm, in the order of the network's joints."""
    camera: Camera
    bbox: Box
    """x, y, width, height around the joints in pixels, neither square nor enlarged."""
    world: Array | None = None
    """(17, 3) mm: what Human3.6M's file holds."""
    rotation: Array | None = None
    translation: Array | None = None


def write_human36m(
    folder: Path,
    subjects: Iterable[int] = (9, 11),
    frames: Sequence[int] = (0, 1, 64),
    actions: Iterable[int] = range(FIRST_ACTION, FIRST_ACTION + len(ACTIONS)),
) -> dict[str, Truth]:
    """Human3.6M's test subjects: one video an action, seen by one of two cameras; images of the evaluated frames."""
    rng = np.random.default_rng(36)
    truths: dict[str, Truth] = {}
    number = 1000
    for subject in subjects:
        cameras = {str(index): _outside_camera(rng) for index in (1, 2)}
        images, annotations = [], []
        joints: dict[str, Any] = {}
        for action in actions:
            index = 1 + action % 2
            video = f"s_{subject:02d}_act_{action:02d}_subact_01_ca_{index:02d}"
            for frame in frames:
                name = f"{video}/{video}_{frame + 1:06d}.jpg"
                truth = _world_truth(rng, folder / "images" / name, cameras[str(index)])
                truths[name] = truth
                if frame % EVERY_FRAME == 0:
                    draw(truth.image, truth)
                assert truth.world is not None
                joints.setdefault(str(action), {}).setdefault("1", {})[str(frame)] = truth.world.tolist()
                images.append(
                    {
                        "id": number,
                        "file_name": name,
                        "width": WIDTH,
                        "height": HEIGHT,
                        "subject": subject,
                        "action_name": ACTIONS[action - FIRST_ACTION],
                        "action_idx": action,
                        "subaction_idx": 1,
                        "cam_idx": index,
                        "frame_idx": frame,
                    }
                )
                annotations.append(
                    {"id": number, "image_id": number, "keypoints_vis": [True] * 17, "bbox": list(truth.bbox)}
                )
                number += 1
        stem = folder / "annotations" / f"Human36M_subject{subject}"
        write_json(stem.with_name(f"{stem.name}_data.json"), {"images": images, "annotations": annotations})
        write_json(stem.with_name(f"{stem.name}_camera.json"), cameras)
        write_json(stem.with_name(f"{stem.name}_joint_3d.json"), joints)
    return truths


def write_human36m_estimates(folder: Path, depth_mm: float) -> dict[int, Box]:
    """RootNet's output beside what ``write_human36m`` wrote: one depth for all. Returns the boxes by image id."""
    rng = np.random.default_rng(37)
    boxes: dict[int, Box] = {}
    for path in sorted((folder / "annotations").glob("*_data.json")):
        for annotation in json.loads(path.read_text())["annotations"]:
            x, y, width, height = annotation["bbox"]
            edge = max(width, height) * rng.uniform(1.2, 1.3)
            boxes[annotation["image_id"]] = (x + (width - edge) / 2, y + (height - edge) / 2, edge, edge)
    entries = [{"image_id": i, "bbox": list(box), "root_cam": [10.0, 20.0, depth_mm]} for i, box in boxes.items()]
    write_json(folder / "bbox_root" / "bbox_root_human36m_output.json", entries)
    return boxes


def write_coco(folder: Path, in_mm: bool = True) -> dict[str, Truth]:
    """Three PNG images with one person each, whose joints are spelled in many ways."""
    rng = np.random.default_rng(17)
    names = {spelled: HUMAN36M.joints.index(ours) for ours, spelled in COCO_NAMES.items()}
    truths: dict[str, Truth] = {}
    images, annotations = [], []
    for number in range(3):
        name = f"{number}.png"
        truth = _truth(folder / "images" / name, _pose(rng), _camera(rng))
        truths[f"{name} (annotation {number})"] = truth
        draw(truth.image, truth)
        pixels = truth.camera.project(truth.joints_cam)
        keypoints: list[float] = []
        keypoints_cam: list[list[float | None]] = []
        for spelled in COCO_KEYPOINTS:
            known = spelled in names
            keypoints += [*pixels[names[spelled]].tolist(), 2] if known else [0, 0, 0]
            keypoints_cam.append(truth.joints_cam[names[spelled]].tolist() if known else [None] * 3)
        image: dict[str, Any] = {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}
        annotation = {"id": number, "image_id": number, "category_id": 1, "bbox": list(truth.bbox), "iscrowd": 0}
        annotation["keypoints"] = keypoints
        if in_mm:
            (fx, fy), (cx, cy) = (truth.camera.fx, truth.camera.fy), (truth.camera.cx, truth.camera.cy)
            image["intrinsic"] = [fx, fy, cx, cy] if number else {"focal": [fx, fy], "princpt": [cx, cy]}
            annotation["keypoints_cam"] = keypoints_cam
        images.append(image)
        annotations.append(annotation)
    categories = [{"id": 7, "name": "ball"}, {"id": 1, "name": "person", "keypoints": COCO_KEYPOINTS}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    write_json(folder / "annotations.json", document)
    return truths


def write_json(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def draw(path: Path, truth: Truth) -> None:
    """Bones in grey, and a disc of ``PELVIS_COLOUR`` where the pelvis is."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    pixels = np.rint(truth.camera.project(truth.joints_cam)).astype(int).tolist()
    for start, end in HUMAN36M.bones:
        cv2.line(image, pixels[start], pixels[end], (200, 200, 200), 2)
    cv2.circle(image, pixels[HUMAN36M.joints.index("Pelvis")], PELVIS_RADIUS_PX, PELVIS_COLOUR[::-1], -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def _pose(rng: np.random.Generator) -> Array:
    """(18, 3) joints of Human3.6M in a camera's coordinates."""
    root = np.array([rng.uniform(-150, 150), rng.uniform(-150, 150), rng.uniform(4500, 5500)])
    joints: Array = random_joints(rng) + root
    return joints


def _camera(rng: np.random.Generator) -> Camera:
    fx, fy = rng.uniform(250, 300, 2)
    return Camera(fx, fy, *(np.array([WIDTH, HEIGHT]) / 2 + rng.uniform(-5, 5, 2)))


def _outside_camera(rng: np.random.Generator) -> dict[str, Any]:
    """A camera as Human3.6M's files have it, somewhere around the scene."""
    camera, rotation = _camera(rng), Rotation.random(rng=rng).as_matrix()
    translation = rng.uniform((-500, -500, 4500), (500, 500, 5500))
    focal, centre = [camera.fx, camera.fy], [camera.cx, camera.cy]
    return {"R": rotation.tolist(), "t": translation.tolist(), "f": focal, "c": centre}


def _world_truth(rng: np.random.Generator, image: Path, outside: dict[str, Any]) -> Truth:
    rotation, translation = np.array(outside["R"]), np.array(outside["t"])
    joints_cam = _pose(rng)
    world = np.linalg.solve(rotation, (joints_cam - translation).T).T[:17]
    plain = _truth(image, joints_cam, Camera(*outside["f"], *outside["c"]))
    return Truth(image, joints_cam, plain.camera, plain.bbox, world, rotation, translation)


def _truth(image: Path, joints_cam: Array, camera: Camera) -> Truth:
    pixels = camera.project(joints_cam)
    low, high = pixels.min(axis=0) - BOX_MARGIN_PX, pixels.max(axis=0) + BOX_MARGIN_PX
    x, y, width, height = (float(value) for value in (*low, *(high - low)))
    return Truth(image, joints_cam, camera, (x, y, width, height))
