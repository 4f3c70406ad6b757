"""What golden inputs show: a photograph in the public domain (hgedge/pictures), and drawn figures; or its face.

An engine's agreement with FP32 means something on what its network has learnt to see.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hgedge import geometry
from hgedge.datasets.face_sets import FACE_SETS
from hgedge.datasets.keypoint_sets import FACE15
from hgedge.pose import KeypointSet
from hgedge.runtime.preprocess import crop
from hgedge.sources.images import read_picture
from hgedge.spec import InputSpec
from hgedge.visualization.figures import figure_picture

PHOTOGRAPH = Path(__file__).parent.parent / "pictures" / "astronaut.jpg"
FIGURES = 3
FACES = {known.names for known in (FACE15, *FACE_SETS)}
FACE_BOX = np.array([166.0, 57.0, 283.0, 174.0])  # eyes, nose and mouth lie as in the crops of face data sets
FACE_VIEWS = ((1.0, 0.0), (0.9, 8.0), (1.15, -8.0), (1.0, 15.0))  # scale of the box, degrees


def golden_crops(spec: InputSpec, keypoints: KeypointSet | None = None) -> np.ndarray:
    """The golden inputs of a network: (G, H, W, C) uint8.

    Args:
        spec: Its input.
        keypoints: What it predicts; faces if these are of a face, else whole people.
    """
    photograph = read_picture(PHOTOGRAPH)
    box = first_box(photograph, keypoints)
    if shows_face(keypoints):
        views = [(photograph, geometry.frame_from_input(_scaled(box, s), spec.hw, turn)) for s, turn in FACE_VIEWS]
    else:
        figures = [figure_picture(spec.hw, seed)[0] for seed in range(FIGURES)]
        boxes = [box, *(geometry.whole_frame_box(figure.shape[:2]) for figure in figures)]
        affines = [geometry.frame_from_input(each, spec.hw) for each in boxes]
        views = list(zip([photograph, *figures], affines))
    crops = np.empty((len(views), *spec.hw, spec.channels), np.uint8)
    for (picture, affine), out in zip(views, crops):
        crop(picture, affine, out)
    return crops


def shows_face(keypoints: KeypointSet | None) -> bool:
    """Whether golden inputs show a face."""
    return keypoints is not None and keypoints.names in FACES


def first_box(photograph: np.ndarray, keypoints: KeypointSet | None) -> np.ndarray:
    """What the first golden input shows of the photograph: (4,) left, top, right, bottom in its pixels."""
    return FACE_BOX if shows_face(keypoints) else geometry.whole_frame_box(photograph.shape[:2])


def _scaled(box_xyxy: np.ndarray, factor: float) -> np.ndarray:
    center, half = (box_xyxy[:2] + box_xyxy[2:]) / 2, (box_xyxy[2:] - box_xyxy[:2]) / 2
    return np.concatenate([center - factor * half, center + factor * half])
