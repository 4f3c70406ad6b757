"""Frames Labeled In Cinema: people of Hollywood films, upper bodies, 11 joints.

Layout: `examples.mat` (`examples`: structures with `filepath`, `coords` 2 x 29 of which 11 columns are used,
`torsobox` left, top, right, bottom, `istrain`, `istest`) and `images/`. Splits: `train` (3,987) and `test` (1,016).

The crop is the square around the torso's box, three times its longer side: FLIC boxes no more than the torso, and arms
may reach out. The torso that PCK is measured by is computed from the labels, so `unit_px` is None.

Source: Sapp and Taskar, "MODEC: Multimodal Decomposable Models for Human Pose Estimation", CVPR 2013.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hgedge.datasets.annotations import numbers, read_mat
from hgedge.datasets.keypoint_sets import FLIC11
from hgedge.datasets.person import Dataset, Person
from hgedge.errors import SourceError
from hgedge.geometry import square_box

FILES = ("examples.mat", "images/")
COLUMNS = [0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 16]  # of the 29 in `coords`: left arm, right arm, hips, eyes, nose
TORSOS = 3.0


def recognises(root: Path) -> bool:
    """Whether a folder has this layout."""
    return (root / FILES[0]).is_file()


def splits(root: Path) -> tuple[str, ...]:
    """`train` and `test`."""
    return ("train", "test")


def read(root: Path, split: str) -> Dataset:
    """Read the people of one split who have at least one labelled joint.

    Raises:
        SourceError: The file cannot be read, or is built otherwise.
    """
    path = root / FILES[0]
    (examples,) = read_mat(path, "examples", objects=True)
    people = []
    for index, example in enumerate(np.atleast_1d(examples).ravel()):
        try:
            if np.any(getattr(example, f"is{split}")):
                people.append(_person(root, example, f"example {index} of {path}"))
        except AttributeError as error:
            raise SourceError(f"example {index} of {path} is not built as FLIC's are: {error}") from error
    return Dataset("flic", split, FLIC11, tuple(person for person in people if person.labelled.any()))


def _person(root: Path, example: Any, where: str) -> Person:
    keypoints = numbers(example.coords, (2, 29), f"coords of {where}").T[COLUMNS]
    torso = numbers(example.torsobox, (4,), f"torsobox of {where}")
    if not np.isfinite(torso).all():
        raise SourceError(f"torsobox of {where} must be four finite numbers, but is {torso.tolist()}")
    image = root / "images" / str(example.filepath)
    return Person(image, keypoints, np.isfinite(keypoints).all(axis=1), square_box(torso, TORSOS), name=image.stem)
