"""Keypoint sets of faces, as data. Right and left are the person's own: the right half lies on the picture's left.

Source: the orders of points of Multi-PIE and 300-W (68), WFLW (98), COFW (29) and AFLW (19). Numbers in names count
from the outside of the face inwards, along a nose's bridge downwards.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from hgedge.datasets.mirror import sided_set
from hgedge.pose import KeypointSet

Skeleton = tuple[tuple[int, int], ...]


def _across(part: str, count: int) -> list[str]:
    """Names of points in a row from the person's right to the left; an odd one in the middle has no side."""
    half = count // 2
    middle = [f"{part}_middle"] if count % 2 else []
    return [
        *(f"right_{part}_{i + 1}" for i in range(half)),
        *middle,
        *(f"left_{part}_{i + 1}" for i in reversed(range(half))),
    ]


def _line(first: int, last: int) -> Skeleton:
    return tuple(pairwise(range(first, last + 1)))


def _ring(first: int, last: int) -> Skeleton:
    return (*_line(first, last), (last, first))


def _sides(*parts: str) -> list[str]:
    return [f"{side}_{part}" for part in parts for side in ("right", "left")]


def _eyes(upper: tuple[str, ...], lower: tuple[str, ...]) -> list[str]:
    """Both eyes' outlines, clockwise as seen: the right one from its outer corner, the left one from its inner."""
    right = ["outer_corner", *upper, "inner_corner", *reversed(lower)]
    left = ["inner_corner", *reversed(upper), "outer_corner", *lower]
    return [*(f"right_eye_{name}" for name in right), *(f"left_eye_{name}" for name in left)]


def _lips(outer_lower: int, inner_upper: int) -> list[str]:
    """Outer contour from the right corner clockwise, then the inner one."""
    return [
        *_across("outer_lip_upper", 7),
        *reversed(_across("outer_lip_lower", outer_lower)),
        *_across("inner_lip_upper", inner_upper),
        *reversed(_across("inner_lip_lower", 3)),
    ]


FACE68 = sided_set(
    "face68",
    (
        *_across("jaw", 17),
        *_across("brow", 10),
        *(f"nose_bridge_{i}" for i in range(1, 5)),
        *_across("nose_base", 5),
        *_eyes(("upper_outer", "upper_inner"), ("lower_outer", "lower_inner")),
        *_lips(outer_lower=5, inner_upper=5),
    ),
    (
        *_line(0, 16), *_line(17, 21), *_line(22, 26), *_line(27, 30), *_line(31, 35),
        *_ring(36, 41), *_ring(42, 47), *_ring(48, 59), *_ring(60, 67),
    ),
)  # fmt: skip

WFLW98 = sided_set(
    "wflw98",
    (
        *_across("jaw", 33),
        *(f"right_brow_upper_{i}" for i in (1, 2, 3, 4, 5)),
        *(f"right_brow_lower_{i}" for i in (4, 3, 2, 1)),
        *(f"left_brow_upper_{i}" for i in (5, 4, 3, 2, 1)),
        *(f"left_brow_lower_{i}" for i in (1, 2, 3, 4)),
        *(f"nose_bridge_{i}" for i in range(1, 5)),
        *_across("nose_base", 5),
        *_eyes(("upper_outer", "upper", "upper_inner"), ("lower_outer", "lower", "lower_inner")),
        *_lips(outer_lower=5, inner_upper=5),
        *_sides("pupil"),
    ),
    (
        *_line(0, 32), *_ring(33, 41), *_ring(42, 50), *_line(51, 54), *_line(55, 59),
        *_ring(60, 67), *_ring(68, 75), *_ring(76, 87), *_ring(88, 95),
    ),
)  # fmt: skip

COFW29 = sided_set(
    "cofw29",
    (
        *_sides("brow_outer_end", "brow_inner_end"),
        *("right_brow_upper", "right_brow_lower", "left_brow_upper", "left_brow_lower"),
        *_sides("eye_outer_corner", "eye_inner_corner"),
        *("right_eye_upper", "right_eye_lower", "left_eye_upper", "left_eye_lower"),
        *_sides("pupil", "nostril"),
        *("nose_tip", "nose_base"),
        *_sides("mouth_corner"),
        *("upper_lip_top", "upper_lip_bottom", "lower_lip_top", "lower_lip_bottom", "chin"),
    ),
    (
        (0, 4), (4, 2), (2, 5), (5, 0), (1, 6), (6, 3), (3, 7), (7, 1),
        (8, 12), (12, 10), (10, 13), (13, 8), (9, 14), (14, 11), (11, 15), (15, 9),
        (18, 20), (20, 19), (19, 21), (21, 18), (22, 24), (24, 23), (23, 27), (27, 22), (22, 25), (25, 23),
        (23, 26), (26, 22),
    ),
)  # fmt: skip

AFLW19 = sided_set(
    "aflw19",
    (
        *_across("brow", 6),
        *("right_eye_outer_corner", "right_eye_center", "right_eye_inner_corner"),
        *("left_eye_inner_corner", "left_eye_center", "left_eye_outer_corner"),
        *("right_nostril", "nose_tip", "left_nostril"),
        *("right_mouth_corner", "mouth_center", "left_mouth_corner", "chin"),
    ),
    (*_line(0, 2), *_line(3, 5), *_line(6, 8), *_line(9, 11), *_line(12, 14), *_line(15, 17)),
)
FACE_SETS = (FACE68, WFLW98, COFW29, AFLW19)

EYES = {"face15": (0, 1), "face68": (36, 45), "wflw98": (60, 72), "cofw29": (8, 9)}


def eye_distance(keypoint_set: KeypointSet, keypoints: np.ndarray, labelled: np.ndarray) -> float | None:
    """What NME is measured by: the distance of the eyes' outer corners; of their centres for 15 points.

    Args:
        keypoint_set: Any.
        keypoints: (K, 2) pixels.
        labelled: (K,) bool.

    Returns:
        Pixels; None for other sets, and where one of the two points is not labelled.

    Source: 300-W, WFLW and COFW as HRNet and later papers evaluate them.
    """
    ends = list(EYES.get(keypoint_set.name, ()))
    if not ends or not labelled[ends].all():
        return None
    return float(np.linalg.norm(keypoints[ends[0]] - keypoints[ends[1]]))
