"""People made by hand: joints, boxes, tracks, a detector that finds them."""

from __future__ import annotations

import numpy as np

from hgedge.geometry import square_box
from hgedge.people import Crop
from hgedge.pose import Frame, Pose
from hgedge.tracking import Track

FPS = 30.0
FRAME_HW = (480, 640)
IMAGE = np.zeros((*FRAME_HW, 3), np.uint8)
INPUT_HW = (256, 256)
PLAY = 8 / 256  # of a crop's side
BODY = np.array(  # LSP's joints of somebody 180 high who stands, from the middle
    [(-15, 85), (-15, 45), (-14, 5), (14, 5), (15, 45), (15, 85), (-32, 5), (-30, -22), (-20, -50), (20, -50),
     (30, -22), (32, 5), (0, -62), (0, -95)], np.float32
)  # fmt: skip


class Finder:
    """A detector that gives the same boxes for every frame, or those of a function, and counts."""

    followed, cropped = True, False

    def __init__(self, boxes=()) -> None:
        self.boxes, self.asked = boxes, []

    def detect(self, frame: Frame, image_bgr: np.ndarray) -> np.ndarray:
        self.asked.append(frame.index)
        boxes = self.boxes(frame) if callable(self.boxes) else self.boxes
        return np.array([[*box, 0.9][:5] for box in boxes], np.float32).reshape(-1, 5)


def frame_at(index: int, fps: float = FPS) -> Frame:
    return Frame(IMAGE, index, index / fps, 0.0, 0.0)


def pose_of(points: np.ndarray, box: np.ndarray, scores: np.ndarray | float = 0.7) -> Pose:
    scores = np.broadcast_to(np.float32(scores), len(points)).copy()
    return Pose(points.astype(np.float32), scores, np.asarray(box, np.float32), float(scores.mean()))


def track_of(points, box=None, number=0, index=0, drift=(0, 0), scores=0.7, misses=0) -> Track:
    box = square_box(bounds(points)) if box is None else box
    return Track(number, pose_of(points, box, scores), index / FPS, misses=misses, drift=np.array(drift, float))


def bounds(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(float)


def body_at(x: float, y: float, size: float = 1.0) -> np.ndarray:
    return BODY * size + np.array([x, y], np.float32)


def box_around(x: float, y: float) -> np.ndarray:
    return bounds(body_at(x, y)) + np.array([-12, -10, 12, 10])


def side(crop: Crop) -> float:
    return float(crop.box_xyxy[2] - crop.box_xyxy[0])


def center(crop: Crop) -> np.ndarray:
    return (crop.box_xyxy[:2] + crop.box_xyxy[2:]) / 2
