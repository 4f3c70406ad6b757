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
        image: The picture's file, or that which it lies in among others.
        keypoints: (K, 2) float64, x then y, in picture pixels; meaningless where not labelled.
        labelled: (K,) bool.
        box_xyxy: (4,) float64, the crop that the data set prescribes.
        pixels: (H, W, 3) or (H, W) uint8, BGR or grey, where pictures lie in one file together; else None.
        unit_px: What the data set measures errors by, such as 0.6 of the head box's diagonal (PCKh) or the distance of
            the eyes (NME), in picture pixels; None where it is computed from the labels.
        area: Of the person in square pixels, for OKS; None where the data set does not tell.
        name: Of the person or subject in the data set, by which splits and results are told apart.
    """

    image: Path
    keypoints: np.ndarray
    labelled: np.ndarray
    box_xyxy: np.ndarray
    pixels: np.ndarray | None = None
    unit_px: float | None = None
    area: float | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.keypoints.shape != (len(self.labelled), 2):
            raise ShapeError(f"keypoints must be ({len(self.labelled)}, 2), but got shape {self.keypoints.shape}")

    def read(self) -> np.ndarray:
        """The picture, (H, W, 3) uint8 BGR.

        Raises:
            SourceError: It cannot be read.
        """
        from hgedge.sources.images import read_picture

        if self.pixels is None:
            return read_picture(self.image)
        return self.pixels if self.pixels.ndim == 3 else np.repeat(self.pixels[..., None], 3, axis=2)


@dataclass(frozen=True)
class Dataset:
    """The people of one split, and what their joints are called.

    Attributes:
        name: Of the data set, such as "lspet".
        split: The split.
        keypoint_set: What the K joints are called.
        people: Those with at least one labelled joint.
        origin_px: Where keypoints and boxes put the centre of the top left pixel: 0; or 1 where they stay as published,
            to be compared with published predictions. To score what a network finds in a picture, add it.
    """

    name: str
    split: str
    keypoint_set: KeypointSet
    people: tuple[Person, ...]
    origin_px: float = 0.0

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
