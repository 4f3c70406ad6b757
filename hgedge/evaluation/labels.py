"""What people of a data set are labelled with, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hgedge.datasets import Dataset
from hgedge.errors import ConfigError
from hgedge.pose import KeypointSet


@dataclass(frozen=True)
class Labels:
    """The people of a split who are scored.

    Attributes:
        keypoint_set: Names of the K keypoints.
        keypoints: (P, K, 2) float64 picture pixels; meaningless where not labelled.
        labelled: (P, K) bool.
        unit_px: (P,) float64, what the data set measures errors by; NaN where it does not tell.
        area: (P,) float64 square pixels; NaN where the data set does not tell.
        boxes_xyxy: (P, 4) float64 picture pixels.
        pictures: (P,) text, the same for people of one picture.
        names: (P,) text, the person's name in the data set, or the picture's.
        indices: (P,) their places in the split.
        total: People of the split.
        data: What messages call the split.
    """

    keypoint_set: KeypointSet
    keypoints: np.ndarray
    labelled: np.ndarray
    unit_px: np.ndarray
    area: np.ndarray
    boxes_xyxy: np.ndarray
    pictures: np.ndarray
    names: np.ndarray
    indices: np.ndarray
    total: int
    data: str

    def __len__(self) -> int:
        return len(self.keypoints)


def labels_of(dataset: Dataset, chosen: np.ndarray) -> Labels:
    """The labels of some people of a data set, who are given by their places in it."""
    people = [dataset.people[index] for index in chosen]
    return Labels(
        keypoint_set=dataset.keypoint_set,
        keypoints=np.stack([person.keypoints for person in people]).astype(np.float64),
        labelled=np.stack([person.labelled for person in people]).astype(bool),
        unit_px=np.array([person.unit_px for person in people], dtype=np.float64),  # None becomes NaN
        area=np.array([person.area for person in people], dtype=np.float64),
        boxes_xyxy=np.stack([person.box_xyxy for person in people]),
        pictures=np.array(
            [str(p.image) if p.pixels is None else f"{p.image}:{i}" for i, p in zip(chosen, people)], dtype=np.str_
        ),
        names=np.array([person.name or person.image.name for person in people], dtype=np.str_),
        indices=np.asarray(chosen),
        total=len(dataset),
        data=f"split {dataset.split!r} of {dataset.name}",
    )


def chosen_people(count: int, limit: int | None) -> np.ndarray:
    """Places of the people to score: all, or `limit` of them spread evenly.

    Raises:
        ConfigError: The limit is not positive.
    """
    if limit is None or limit >= count:
        return np.arange(count)
    if limit < 1:
        raise ConfigError(f"limit must be positive, but got {limit}")
    return np.linspace(0, count - 1, limit).round().astype(int)
