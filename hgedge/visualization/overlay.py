"""What is written over a picture: people's ids, and how the run goes."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

import numpy as np

from hgedge.pose import Pose
from hgedge.sources.opencv import cv2

FONT = cv2.FONT_HERSHEY_SIMPLEX
TEXT_OF_HEIGHT = 1 / 45  # height of capitals over that of the picture
LEAST_TEXT_PX = 7
CAPITALS_PX = 21  # of the font at scale 1
GOLDEN = 0.618034  # steps of hue: neighbouring ids differ, and no two are ever the same
SHADE = 0.55
DARK, LIGHT = (24, 24, 24), (255, 255, 255)


def track_color(track_id: int) -> tuple[int, int, int]:
    """BGR of a track, by its id alone."""
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(track_id * GOLDEN % 1, 0.55, 1.0))
    return blue, green, red


def draw_ids(image: np.ndarray, poses: Sequence[Pose], min_score: float = 0.3) -> None:
    """Write each person's id over their uppermost joint, in the colour of the track.

    Args:
        image: (H, W, 3) uint8, BGR; written into.
        poses: People in its pixels.
        min_score: Joints below it do not count; who has none gets no label.
    """
    for pose in poses:
        shown = (pose.scores >= min_score) & np.isfinite(pose.keypoints).all(axis=1)
        if shown.any():
            points = pose.keypoints[shown]
            center, top = points[:, 0].mean(), points[:, 1].min()
            _label(image, str(pose.id), float(center), float(top), track_color(pose.id))


def draw_status(image: np.ndarray, latency_ms: Mapping[str, float], age_ms: float, dropped: int, state: str) -> None:
    """Write how the run goes into the upper left corner.

    Args:
        image: (H, W, 3) uint8, BGR; written into.
        latency_ms: Of the frame; "infer" and "total" are shown.
        age_ms: Of the frame when it was shown.
        dropped: Frames thrown away so far.
        state: Of the source; shown unless it is "live".
    """
    infer, total = (latency_ms.get(stage, float("nan")) for stage in ("infer", "total"))
    lines = [f"engine {infer:.1f} ms, frame {total:.1f} ms", f"age {age_ms:.0f} ms, dropped {dropped}"]
    lines += [] if state == "live" else [state]
    height = _text_px(image)
    width = max(_width(line, height) for line in lines)
    margin, step = height // 2, 2 * height
    corner = image[: step * len(lines) + margin, : width + 2 * margin]
    corner[...] = (corner * (1 - SHADE)).astype(np.uint8)
    for number, line in enumerate(lines, start=1):
        _write(image, line, margin, step * number - margin, height, LIGHT)


def _label(image: np.ndarray, text: str, center: float, top: float, color: tuple[int, int, int]) -> None:
    """A small plate with its middle above a point, moved into the picture where it would lie outside."""
    height = _text_px(image)
    pad = max(2, height // 3)
    width_px, height_px = _width(text, height) + 2 * pad, height + 2 * pad
    left = int(np.clip(center - width_px / 2, 0, max(image.shape[1] - width_px, 0)))
    upper = int(np.clip(top - 1.5 * height_px, 0, max(image.shape[0] - height_px, 0)))
    cv2.rectangle(image, (left, upper), (left + width_px - 1, upper + height_px - 1), color, cv2.FILLED)
    _write(image, text, left + pad, upper + height_px - pad, height, DARK)


def _text_px(image: np.ndarray) -> int:
    return max(LEAST_TEXT_PX, round(TEXT_OF_HEIGHT * image.shape[0]))


def _width(text: str, height: int) -> int:
    return int(cv2.getTextSize(text, FONT, height / CAPITALS_PX, _thickness(height))[0][0])


def _thickness(height: int) -> int:
    return max(1, round(height / 9))


def _write(image: np.ndarray, text: str, left: int, base: int, height: int, color: tuple[int, int, int]) -> None:
    cv2.putText(image, text, (left, base), FONT, height / CAPITALS_PX, color, _thickness(height), cv2.LINE_AA)
