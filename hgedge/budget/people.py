"""The people who candidates are measured on, in two halves that share neither picture nor subject.

People who share a picture or a name (the subject's, where a data set knows it) stay together. Such companies, in an
order that a hash of their names gives, go one by one to the half that is smaller so far.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hgedge import geometry
from hgedge.budget.metric import family_of
from hgedge.datasets import Dataset
from hgedge.errors import ConfigError
from hgedge.evaluation.evaluate import open_people
from hgedge.evaluation.labels import Labels, labels_of
from hgedge.pose import KeypointSet
from hgedge.progress import Progress, no_progress
from hgedge.runtime.preprocess import crop
from hgedge.spec import InputSpec

HALVES = ("search", "confirm")


@dataclass(frozen=True)
class Half:
    """Some people of a data set's split.

    Attributes:
        name: "search" or "confirm", or "all".
        dataset: Theirs.
        labels: Theirs alone.
    """

    name: str
    dataset: Dataset
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def crops(self, spec: InputSpec, progress: Progress = no_progress) -> tuple[np.ndarray, np.ndarray]:
        """Everyone's crop, (P, H, W, C) uint8, and the (P, 2, 3) maps from its pixels to the data set's.

        Raises:
            SourceError: A picture cannot be read.
        """
        crops = np.empty((len(self), *spec.hw, spec.channels), np.uint8)
        affines = np.empty((len(self), 2, 3))
        origin = self.dataset.origin_px
        for done, index in enumerate(self.labels.indices):
            person = self.dataset.people[index]
            affines[done] = geometry.frame_from_input(person.box_xyxy - origin, spec.hw)
            crop(person.read(), affines[done], crops[done])
            progress(f"crops to {self.name}", done + 1, len(self))
        affines[:, :, 2] += origin
        return crops, affines


def everybody(dataset: Dataset, labels: Labels) -> Half:
    """All people at once, for where nothing is chosen."""
    return Half("all", dataset, labels)


def halves_of(dataset: Dataset, labels: Labels) -> tuple[Half, Half]:
    """The half to search on, and the half to confirm on.

    Raises:
        ConfigError: All people are in one picture, or are the same person.
    """
    parts: tuple[list[int], list[int]] = ([], [])
    for company in sorted(_companies(labels), key=lambda members: _hash(labels, members)):
        min(parts, key=len).extend(company)
    if not parts[1]:
        raise ConfigError(
            f"{labels.data} must have people in two pictures or more, to search on some and confirm on others, but its "
            f"{len(labels)} share one picture or name; give another data set"
        )
    search, confirm = (
        Half(name, dataset, labels_of(dataset, labels.indices[np.sort(part)])) for name, part in zip(HALVES, parts)
    )
    return search, confirm


def labelled_people(
    data: Path, keypoints: KeypointSet, model: str, split: str | None = None, limit: int | None = None
) -> tuple[Dataset, Labels]:
    """A data set and the labels of its people, if a budget can be measured on them; a check before any work is done.

    Args:
        data: Its folder.
        keypoints: That the network predicts.
        model: What messages call it.
        split: Of the data set; None: its own default.
        limit: Take only this many people, spread over the split.

    Raises:
        ConfigError: They are labelled with other keypoints, or allow no metric of a budget.
        SourceError: The data set cannot be read.
    """
    dataset, labels = open_people(data, split, limit)
    check_keypoints(dataset, keypoints, model)
    family_of(labels)
    return dataset, labels


def check_keypoints(dataset: Dataset, keypoints: KeypointSet, model: str) -> None:
    """Raise ConfigError unless a data set is labelled with the keypoints that a network predicts."""
    if dataset.keypoint_set.names != keypoints.names:
        raise ConfigError(
            f"{dataset.name} is labelled with the {len(dataset.keypoint_set)} keypoints {dataset.keypoint_set.name!r}, "
            f"but {model} predicts the {len(keypoints)} of {keypoints.name!r}; give a data set with its own keypoints"
        )


def data_digest(labels: Labels, dataset: Dataset) -> str:
    """sha256 over the pictures, crops and labels of people."""
    digest = hashlib.sha256()
    for index in labels.indices:
        person = dataset.people[index]
        digest.update(person.image.read_bytes() if person.pixels is None else person.pixels.tobytes())
        digest.update(np.nan_to_num(person.keypoints).tobytes() + person.labelled.tobytes())
        digest.update(person.box_xyxy.tobytes() + f"{person.unit_px} {person.name}".encode())
    return digest.hexdigest()


def _companies(labels: Labels) -> list[list[int]]:
    """People by picture and name: who shares either with another is in one list with them."""
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader.setdefault(key, key) != key:
            key = leader[key]
        return key

    keys = [(f"picture {picture}", f"name {name}") for picture, name in zip(labels.pictures, labels.names)]
    for picture, name in keys:
        leader[find(picture)] = find(name)
    found: dict[str, list[int]] = {}
    for person, (picture, _) in enumerate(keys):
        found.setdefault(find(picture), []).append(person)
    return list(found.values())


def _hash(labels: Labels, members: list[int]) -> str:
    """Of a company: by names and places in the split, which are the same wherever the data set lies."""
    said = "\n".join(f"{labels.names[person]} {labels.indices[person]}" for person in members)
    return hashlib.sha256(said.encode()).hexdigest()
