"""Joint sets of ConvNeXtPose networks: names, bones, mirror pairs.

Source: the joint lists of the released training code (Human3.6M with an added thorax, and MuCo).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class JointSet:
    """Joint names in output order, the bones between them, and left-right pairs."""

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    mirror_pairs: tuple[tuple[int, int], ...]


HUMAN36M = JointSet(
    name="Human3.6M with thorax",
    joints=(
        *("Pelvis", "R_Hip", "R_Knee", "R_Ankle", "L_Hip", "L_Knee", "L_Ankle", "Torso", "Neck", "Nose", "Head"),
        *("L_Shoulder", "L_Elbow", "L_Wrist", "R_Shoulder", "R_Elbow", "R_Wrist", "Thorax"),
    ),
    bones=(
        *((0, 7), (7, 8), (8, 9), (9, 10), (8, 11), (11, 12), (12, 13), (8, 14), (14, 15), (15, 16)),
        *((0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6)),
    ),
    mirror_pairs=((1, 4), (2, 5), (3, 6), (14, 11), (15, 12), (16, 13)),
)

MUCO = JointSet(
    name="MuCo",
    joints=(
        *("Head_top", "Thorax", "R_Shoulder", "R_Elbow", "R_Wrist", "L_Shoulder", "L_Elbow", "L_Wrist"),
        *("R_Hip", "R_Knee", "R_Ankle", "L_Hip", "L_Knee", "L_Ankle", "Pelvis", "Spine", "Head"),
        *("R_Hand", "L_Hand", "R_Toe", "L_Toe"),
    ),
    bones=(
        *((0, 16), (16, 1), (1, 15), (15, 14), (14, 8), (14, 11), (8, 9), (9, 10), (10, 19), (11, 12), (12, 13)),
        *((13, 20), (1, 2), (2, 3), (3, 4), (4, 17), (1, 5), (5, 6), (6, 7), (7, 18)),
    ),
    mirror_pairs=((2, 5), (3, 6), (4, 7), (8, 11), (9, 12), (10, 13), (17, 18), (19, 20)),
)

JOINT_SETS = (HUMAN36M, MUCO)


def joint_set(count: int) -> JointSet:
    """Return the known set of ``count`` joints; if there is none, unnamed joints without bones."""
    for known in JOINT_SETS:
        if len(known.joints) == count:
            return known
    return JointSet(f"{count} unnamed joints", tuple(f"joint_{j}" for j in range(count)), (), ())
