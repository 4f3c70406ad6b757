"""The keypoint sets that hgedge knows, as data."""

from __future__ import annotations

from hgedge.errors import ConfigError
from hgedge.pose import KeypointSet

LSP14 = KeypointSet(
    name="lsp14",
    names=(
        "right_ankle",
        "right_knee",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "right_wrist",
        "right_elbow",
        "right_shoulder",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "neck",
        "head_top",
    ),
    skeleton=(
        (0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (9, 10), (10, 11),
        (8, 12), (9, 12), (12, 13), (2, 8), (3, 9), (2, 3),
    ),
    flip_indices=(5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13),
)  # fmt: skip

MPII16 = KeypointSet(
    name="mpii16",
    names=(
        "right_ankle",
        "right_knee",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "pelvis",
        "thorax",
        "upper_neck",
        "head_top",
        "right_wrist",
        "right_elbow",
        "right_shoulder",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
    ),
    skeleton=(
        (0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9),
        (10, 11), (11, 12), (12, 7), (7, 13), (13, 14), (14, 15),
    ),
    flip_indices=(5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10),
)  # fmt: skip

KEYPOINT_SETS = {keypoints.name: keypoints for keypoints in (LSP14, MPII16)}


def keypoint_set(name: str) -> KeypointSet:
    """The keypoint set of this name.

    Raises:
        ConfigError: No set has this name.
    """
    try:
        return KEYPOINT_SETS[name]
    except KeyError:
        raise ConfigError(f"unknown keypoint set {name!r}; known: {', '.join(sorted(KEYPOINT_SETS))}") from None
