"""Drawn people with known joints, for where no photograph may be used: golden inputs, demonstrations, tests.

Limbs are capsules that hang together at the joints. Every size is in heights of the person until the figure is placed.
"""

from __future__ import annotations

import numpy as np

from hgedge.errors import ShapeError
from hgedge.sources.opencv import cv2

Color = tuple[int, int, int]

ANKLES, KNEES, HIPS, WRISTS, ELBOWS, SHOULDERS = (0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)  # LSP, right first
NECK, HEAD_TOP = 12, 13
SMALLEST_PX = 16
SHIFT = 4


def figure_picture(size_hw: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one person, seen from the front, before a soft background.

    Args:
        size_hw: Height and width in pixels, at least 16 each.
        seed: Decides pose, place, clothes and background.

    Returns:
        image: (H, W, 3) uint8, BGR.
        keypoints: (14, 2) float32, x then y, in the order of LSP, all inside the picture.

    Raises:
        ShapeError: The picture is too small.
    """
    if min(size_hw) < SMALLEST_PX:
        raise ShapeError(f"a figure needs at least {SMALLEST_PX} x {SMALLEST_PX} pixels, but got {size_hw}")
    rng = np.random.default_rng(seed)
    keypoints, height_px = _placed(_pose(rng), size_hw, rng)
    image = _background(size_hw, rng)
    draw_figure(image, keypoints, height_px, rng)
    noise = rng.normal(0, 4, image.shape)  # the grain of a camera
    return np.clip(image + noise, 0, 255).astype(np.uint8), keypoints.astype(np.float32)


def draw_figure(image: np.ndarray, keypoints: np.ndarray, height_px: float, rng: np.random.Generator) -> None:
    """Draw a clothed person into a picture.

    Args:
        image: (H, W, 3) uint8, BGR; drawn into.
        keypoints: (14, 2) in the order of LSP.
        height_px: The person's height, which decides how thick limbs are.
        rng: Picks the colours.
    """
    skin = _color(np.array([150, 180, 225]) * rng.uniform(0.45, 1.05))
    shirt, trousers, hair = (_color(rng.uniform(low, high, 3)) for low, high in ((30, 230), (20, 120), (10, 90)))
    shoe = _color(rng.uniform(10, 60, 3))
    for hip, knee, ankle in zip(HIPS, KNEES, ANKLES, strict=True):
        _capsule(image, keypoints[ankle], keypoints[ankle] + [0, 0.02 * height_px], 0.07 * height_px, shoe)
        _capsule(image, keypoints[knee], keypoints[ankle], 0.075 * height_px, trousers)
        _capsule(image, keypoints[hip], keypoints[knee], 0.1 * height_px, trousers)
    _capsule(image, keypoints[HIPS[0]], keypoints[HIPS[1]], 0.1 * height_px, trousers)
    neck, head_top = keypoints[NECK], keypoints[HEAD_TOP]
    _capsule(image, neck, (neck + head_top) / 2, 0.06 * height_px, skin)
    torso = keypoints[[*SHOULDERS, *HIPS[::-1]]]
    cv2.fillConvexPoly(image, _fixed(torso), shirt, cv2.LINE_AA, SHIFT)
    _capsule(image, keypoints[SHOULDERS[0]], keypoints[SHOULDERS[1]], 0.075 * height_px, shirt)
    _head(image, neck, head_top, skin, hair)
    for shoulder, elbow, wrist in zip(SHOULDERS, ELBOWS, WRISTS, strict=True):
        _capsule(image, keypoints[elbow], keypoints[wrist], 0.045 * height_px, skin)
        _capsule(image, keypoints[wrist], keypoints[wrist], 0.06 * height_px, skin)
        shade = _color(np.array(shirt) * 0.85)
        _capsule(image, keypoints[shoulder], keypoints[elbow], 0.065 * height_px, shade)


def _pose(rng: np.random.Generator) -> np.ndarray:
    """(14, 2) joints of a standing, walking or waving person of height about 1, neck at the origin, y down."""
    joints = np.zeros((14, 2))
    lean = rng.uniform(-0.2, 0.2)
    down = np.array([np.sin(lean), np.cos(lean)])
    across = np.array([down[1], -down[0]])
    joints[HEAD_TOP] = -0.18 * _turned(down, rng.uniform(-0.25, 0.25))
    for side, sign in enumerate((-1, 1)):  # the person's right is on the picture's left
        joints[SHOULDERS[side]] = 0.02 * down + sign * 0.11 * across
        joints[HIPS[side]] = 0.3 * down + sign * 0.075 * across
        upper, bend = rng.uniform(0.1, 2.6), rng.uniform(-0.2, 1.8)
        joints[ELBOWS[side]] = joints[SHOULDERS[side]] + 0.17 * _turned(down, -sign * upper)
        joints[WRISTS[side]] = joints[ELBOWS[side]] + 0.15 * _turned(down, -sign * (upper + bend))
        thigh, shin = rng.uniform(0.0, 0.55), rng.uniform(-0.4, 0.15)
        joints[KNEES[side]] = joints[HIPS[side]] + 0.24 * _turned(down, -sign * thigh)
        joints[ANKLES[side]] = joints[KNEES[side]] + 0.24 * _turned(down, -sign * (thigh + shin))
    return joints


def _turned(direction: np.ndarray, angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cos * direction[0] - sin * direction[1], sin * direction[0] + cos * direction[1]])


def _placed(joints: np.ndarray, size_hw: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Scale and move a pose so that all of it, limbs' thickness too, is inside; also the height in pixels."""
    low, high = joints.min(axis=0) - 0.06, joints.max(axis=0) + 0.06
    size_wh = np.array(size_hw[::-1], dtype=np.float64)
    height_px = float(rng.uniform(0.8, 0.97) * (size_wh / (high - low)).min())
    room = size_wh - height_px * (high - low)
    return height_px * (joints - low) + rng.uniform(0.25, 0.75, 2) * room - 0.5, height_px


def _background(size_hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Wall and floor with soft blotches: (H, W, 3) uint8."""
    height, width = size_hw
    tones = rng.uniform(-30, 30, (7, 7, 1)) + rng.uniform(-10, 10, (7, 7, 3))
    blotches = cv2.resize(tones, (width, height), interpolation=cv2.INTER_CUBIC)
    wall, floor = rng.uniform(90, 220) + rng.uniform(-25, 25, 3), rng.uniform(60, 160) + rng.uniform(-25, 25, 3)
    horizon = rng.uniform(0.6, 0.85) * height
    share = np.clip((np.arange(height) - horizon) / 2 + 0.5, 0, 1)[:, None, None]
    return np.clip(wall * (1 - share) + floor * share + blotches, 0, 255).astype(np.uint8)


def _head(image: np.ndarray, neck: np.ndarray, head_top: np.ndarray, skin: Color, hair: Color) -> None:
    up = head_top - neck
    length = float(np.hypot(*up))
    angle = float(np.degrees(np.arctan2(up[1], up[0])))
    _ellipse(image, neck + 0.64 * up, (0.36 * length, 0.32 * length), angle, hair)
    _ellipse(image, neck + 0.55 * up, (0.33 * length, 0.27 * length), angle, skin)
    side = np.array([-up[1], up[0]])
    for eye in (neck + 0.62 * up - 0.12 * side, neck + 0.62 * up + 0.12 * side):
        _capsule(image, eye, eye, 0.07 * length, (30, 30, 30))
    _capsule(image, neck + 0.42 * up - 0.08 * side, neck + 0.42 * up + 0.08 * side, 0.04 * length, (60, 60, 140))


def _ellipse(image: np.ndarray, center: np.ndarray, axes: tuple[float, float], angle: float, color: Color) -> None:
    x, y = _fixed(center).tolist()
    along, across = (round(axis * 2**SHIFT) for axis in axes)
    cv2.ellipse(image, (x, y), (along, across), angle, 0, 360, color, cv2.FILLED, cv2.LINE_AA, SHIFT)


def _capsule(image: np.ndarray, start: np.ndarray, end: np.ndarray, width_px: float, color: Color) -> None:
    """A thick line with round ends, of any width: OpenCV's own lines have whole pixels."""
    across = end - start
    normal = np.array([-across[1], across[0]]) / max(float(np.hypot(*across)), 1e-6) * width_px / 2
    corners = np.stack([start + normal, end + normal, end - normal, start - normal])
    cv2.fillConvexPoly(image, _fixed(corners), color, cv2.LINE_AA, SHIFT)
    for point in (start, end):
        _ellipse(image, point, (width_px / 2, width_px / 2), 0, color)


def _fixed(points: np.ndarray) -> np.ndarray:
    """Points in OpenCV's fixed-point pixels."""
    fixed: np.ndarray = np.rint(np.asarray(points) * 2**SHIFT).astype(np.int32)
    return fixed


def _color(values: np.ndarray) -> Color:
    blue, green, red = np.clip(values, 0, 255).astype(int).tolist()
    return blue, green, red
