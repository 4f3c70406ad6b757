"""A data set is people in pictures with labelled joints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hgedge.errors import ShapeError
from hgedge.geometry import square_box
from hgedge.pose import KeypointSet


@dataclass(frozen=True)
class Person:
    """One labelled person.

    Attributes:
        image: The picture's file.
        keypoints: (K, 2) float64, x then y, in picture pixels; meaningless where not labelled.
        labelled: (K,) bool.
        box_xyxy: (4,) float64, the crop that the data set prescribes.
    """

    image: Path
    keypoints: np.ndarray
    labelled: np.ndarray
    box_xyxy: np.ndarray

    def __post_init__(self) -> None:
        if self.keypoints.shape != (len(self.labelled), 2):
            raise ShapeError(f"keypoints must be ({len(self.labelled)}, 2), but got shape {self.keypoints.shape}")


@dataclass(frozen=True)
class Dataset:
    """The people of one split, and what their joints are called."""

    name: str
    split: str
    keypoint_set: KeypointSet
    people: tuple[Person, ...]

    def __len__(self) -> int:
        return len(self.people)


def box_of_joints(keypoints: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """The square crop for data sets without boxes: the labelled joints' box, 1.25 times its longer side.

    Args:
        keypoints: (K, 2) picture pixels.
        labelled: (K,) bool, at least one true.

    Returns:
        (4,) float64.
    """
    points = keypoints[labelled]
    return square_box(np.concatenate([points.min(axis=0), points.max(axis=0)]), padding=1.25)
