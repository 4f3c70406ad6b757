"""What engines are timed and scored on: a person of the data set, or else the picture that comes with hgedge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hgedge import geometry
from hgedge.datasets import Dataset
from hgedge.errors import ConfigError
from hgedge.evaluation.evaluate import open_people
from hgedge.evaluation.labels import Labels
from hgedge.sources.images import read_picture
from hgedge.spec import Manifest

PHOTOGRAPH = Path(__file__).parent.parent / "pictures" / "astronaut.jpg"


@dataclass(frozen=True)
class Scene:
    """What engines are timed on, and scored on.

    Attributes:
        told: What that is, as JSON: `picture` and `data`.
        picture: (H, W, 3) uint8 BGR.
        box_xyxy: (4,) the person in it.
        people: Data set and labels; None: engines are not scored.
    """

    told: dict[str, Any]
    picture: np.ndarray
    box_xyxy: np.ndarray
    people: tuple[Dataset, Labels] | None


def scene_of(data: Path | None, split: str | None, limit: int | None, bundles: Mapping[Path, Manifest]) -> Scene:
    """The first of the people that bundles are scored on, or without a data set, the astronaut.

    Raises:
        ConfigError: The data set is labelled with other keypoints than a bundle predicts.
        SourceError: It cannot be read.
    """
    if data is None:
        picture = read_picture(PHOTOGRAPH)
        told = _told(PHOTOGRAPH.name, picture, None)
        return Scene(told, picture, geometry.whole_frame_box(picture.shape[:2]), None)
    dataset, labels = open_people(data, split, limit)
    for folder, manifest in bundles.items():
        if dataset.keypoint_set.names != manifest.keypoints.names:
            raise ConfigError(
                f"{dataset.name} is labelled with the keypoints {dataset.keypoint_set.name!r}, but {folder} predicts "
                f"{manifest.keypoints.name!r}; bench it on a data set with its own keypoints, or without --data"
            )
    person = dataset.people[labels.indices[0]]
    picture = person.read()
    scored = {"name": dataset.name, "folder": str(data), "split": dataset.split, "people": len(labels)}
    told = _told(person.image.name, picture, scored)
    return Scene(told, picture, person.box_xyxy - dataset.origin_px, (dataset, labels))


def _told(name: str, picture: np.ndarray, scored: dict[str, Any] | None) -> dict[str, Any]:
    height, width = picture.shape[:2]
    return {"picture": {"name": name, "width": width, "height": height}, "data": scored}
