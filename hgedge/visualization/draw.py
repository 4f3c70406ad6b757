"""Poses drawn as the field draws them: a limb a colour, warm on the person's right, cool on the left.

Each limb and joint is blended into the small part of the picture that it covers, by the score of its joints.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from hgedge.errors import ShapeError
from hgedge.pose import KeypointSet, Pose
from hgedge.sources.opencv import cv2

Color = tuple[int, int, int]

HUES = {"right": (0.0, 0.13), "left": (0.50, 0.66), "": (0.30, 0.40)}  # red to yellow, cyan to blue, greens
RIM: Color = (32, 32, 32)
FAINTEST = 0.35  # opacity of a limb just at min_score; it grows to 1 at score 1
LIMB_OF_SIZE = 0.022  # thickness of a limb over the person's longer side
JOINT_OF_LIMB = 0.85  # radius of a joint over a limb's thickness
RIM_OF_LIMB = 0.3
FAR_PX = 2**15  # points beyond are drawn towards here: OpenCV counts in 32 bits
SHIFT = 4  # bits of a pixel's fraction that OpenCV draws by


def draw_poses(
    image: np.ndarray, poses: Sequence[Pose], keypoint_set: KeypointSet, min_score: float = 0.3
) -> np.ndarray:
    """Draw people into a copy of a picture.

    Args:
        image: (H, W, 3) uint8, BGR; left as it is.
        poses: People in its pixels; later ones cover earlier ones.
        keypoint_set: What their keypoints are, and the limbs between them.
        min_score: Joints below it, and limbs that end in one, are left out, as is what is not finite.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        ShapeError: The picture is not (H, W, 3) uint8, or a pose has another number of keypoints than the set.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"a picture to draw into must be (H, W, 3) uint8, but got {image.shape} {image.dtype}")
    drawn = image.copy()
    for pose in poses:
        if len(pose.scores) != len(keypoint_set):
            raise ShapeError(
                f"poses must have the {len(keypoint_set)} keypoints of {keypoint_set.name}, but got {len(pose.scores)}"
            )
        _draw_pose(drawn, pose, keypoint_set, min_score)
    return drawn


@lru_cache
def limb_colors(keypoint_set: KeypointSet) -> tuple[Color, ...]:
    """BGR, one a limb of the skeleton: hues of the side that its ends' names say, spread within the side."""
    return _spread([_side_of(keypoint_set, limb) for limb in keypoint_set.skeleton])


@lru_cache
def joint_colors(keypoint_set: KeypointSet) -> tuple[Color, ...]:
    """BGR, one a keypoint, by the same rule."""
    return _spread([_side_of(keypoint_set, (joint,)) for joint in range(len(keypoint_set))])


def _side_of(keypoint_set: KeypointSet, joints: Sequence[int]) -> str:
    """Which of HUES: "right", "left", or "" for the middle and for limbs from one side to the other."""
    names = [keypoint_set.names[joint] for joint in joints]
    sides = {side for side in ("right", "left") for name in names if side in name}
    return sides.pop() if len(sides) == 1 else ""


def _spread(sides: Sequence[str]) -> tuple[Color, ...]:
    colors = []
    for index, side in enumerate(sides):
        position, count = sides[:index].count(side), sides.count(side)
        start, end = HUES[side]
        hue = start + (end - start) * position / max(count - 1, 1)
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.85, 1.0))
        colors.append((blue, green, red))
    return tuple(colors)


def _draw_pose(image: np.ndarray, pose: Pose, keypoint_set: KeypointSet, min_score: float) -> None:
    points = np.clip(np.asarray(pose.keypoints, dtype=np.float64), -FAR_PX, FAR_PX)
    scores = np.where(np.isfinite(pose.keypoints).all(axis=1), pose.scores, np.nan)
    shown = scores >= min_score  # NaN is not
    if not shown.any():
        return
    limb_px = max(1.5, LIMB_OF_SIZE * _size(points[shown], pose.box_xyxy))
    opacity = FAINTEST + (1 - FAINTEST) * np.clip((scores - min_score) / max(1 - min_score, 1e-6), 0, 1)
    for (start, end), color in zip(keypoint_set.skeleton, limb_colors(keypoint_set), strict=True):
        if shown[start] and shown[end]:
            _blend_limb(image, points[[start, end]], color, limb_px, float(min(opacity[start], opacity[end])))
    for joint, color in enumerate(joint_colors(keypoint_set)):
        if shown[joint]:
            _blend_joint(image, points[joint], color, JOINT_OF_LIMB * limb_px, float(opacity[joint]))


def _size(points: np.ndarray, box_xyxy: np.ndarray) -> float:
    """The person's longer side: that of the joints shown, but a quarter to the whole of the box (maybe the frame)."""
    extent = float(np.ptp(points, axis=0).max())
    box = np.asarray(box_xyxy, dtype=np.float64)
    side = float((box[2:] - box[:2]).max())
    return min(max(extent, side / 4), side) if np.isfinite(side) and side > 0 else extent


def _blend_limb(image: np.ndarray, ends: np.ndarray, color: Color, width_px: float, opacity: float) -> None:
    rim_px = max(1.0, RIM_OF_LIMB * width_px)

    def paint(canvas: np.ndarray, origin: np.ndarray) -> None:
        start, end = (_fixed(point - origin) for point in ends)
        cv2.line(canvas, start, end, RIM, max(2, round(width_px + rim_px)), cv2.LINE_AA, SHIFT)
        cv2.line(canvas, start, end, color, max(1, round(width_px)), cv2.LINE_AA, SHIFT)

    _blend(image, ends, width_px + rim_px, opacity, paint)


def _blend_joint(image: np.ndarray, point: np.ndarray, color: Color, radius_px: float, opacity: float) -> None:
    rim_px = max(1.0, RIM_OF_LIMB * radius_px)

    def paint(canvas: np.ndarray, origin: np.ndarray) -> None:
        center = _fixed(point - origin)
        cv2.circle(canvas, center, round((radius_px + rim_px) * 2**SHIFT), RIM, cv2.FILLED, cv2.LINE_AA, SHIFT)
        cv2.circle(canvas, center, round(radius_px * 2**SHIFT), color, cv2.FILLED, cv2.LINE_AA, SHIFT)

    _blend(image, point[None], radius_px + rim_px, opacity, paint)


def _blend(
    image: np.ndarray,
    points: np.ndarray,
    reach_px: float,
    opacity: float,
    paint: Callable[[np.ndarray, np.ndarray], None],
) -> None:
    """Paint on a copy of the part around some points, and mix it in; what lies outside the picture is cut."""
    size_wh = np.array(image.shape[1::-1])
    low = np.clip(np.floor(points.min(axis=0) - reach_px - 1), 0, size_wh).astype(int)
    high = np.clip(np.ceil(points.max(axis=0) + reach_px + 2), 0, size_wh).astype(int)
    if (low >= high).any():
        return
    part = image[low[1] : high[1], low[0] : high[0]]
    canvas = part.copy()
    paint(canvas, low)
    part[...] = cv2.addWeighted(canvas, opacity, part, 1 - opacity, 0)


def _fixed(point: np.ndarray) -> tuple[int, int]:
    """A point in OpenCV's fixed-point pixels."""
    x, y = np.rint(point * 2**SHIFT).astype(int).tolist()
    return x, y
