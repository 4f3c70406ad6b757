"""MPII Human Pose, training and validation people as the list of anibali's and bearpaw's hourglass repositories.

Layout: `mpii_annotations.json` (or `.json.gz`) and `images/`. Splits: `train` and `val` (2,958 people), by
`isValidation`. The list has no head boxes, so `unit_px` is None: PCKh needs the layout of `mpii_val` or `mpii_mat`.

MPII counts pixels from 1, as MATLAB does: labels and centres become less by 1. A joint at exactly (0, 0) in the list
is not labelled; hidden joints (v = 0) elsewhere are. The centre and scale are MPII's own and are adjusted here.

Source: Andriluka et al., "2D Human Pose Estimation", CVPR 2014.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hgedge.datasets.annotations import fields, numbers, read_json
from hgedge.datasets.center_scale import adjusted, box_of_center_scale
from hgedge.datasets.keypoint_sets import MPII16
from hgedge.datasets.person import Dataset, Person
from hgedge.errors import SourceError

FILES = ("mpii_annotations.json or mpii_annotations.json.gz", "images/")
NAMES = ("mpii_annotations.json", "mpii_annotations.json.gz")
ORIGIN_PX = 1.0  # MATLAB's first pixel
KEYS = ("isValidation", "img_paths", "objpos", "scale_provided", "joint_self")


def recognises(root: Path) -> bool:
    """Whether a folder has this layout; pictures may be missing until they are read."""
    return any((root / name).is_file() for name in NAMES)


def splits(root: Path) -> tuple[str, ...]:
    """`train` and `val`."""
    return ("train", "val")


def read(root: Path, split: str) -> Dataset:
    """Read the people of one split who have at least one labelled joint, in the list's order.

    Raises:
        SourceError: The list cannot be read, or is another one.
    """
    path = next(root / name for name in NAMES if (root / name).is_file())
    records = read_json(path)
    if not isinstance(records, list):
        raise SourceError(f"{path} must hold a list of people, but holds a {type(records).__name__}")
    people = []
    for index, record in enumerate(records):
        where = f"person {index} of {path}"
        chosen = fields(record, KEYS, where)
        if bool(chosen[0]) == (split == "val"):
            person = _person(root, chosen[1:], where)
            if person.labelled.any():
                people.append(person)
    return Dataset("mpii", split, MPII16, tuple(people))


def _person(root: Path, values: list[Any], where: str) -> Person:
    image, center, scale, joints = values
    joints = numbers(joints, (len(MPII16), 3), f"joint_self of {where}")
    place = numbers(center, (2,), f"objpos of {where}") - ORIGIN_PX
    box = box_of_center_scale(*adjusted(place, float(numbers(scale, (), f"scale_provided of {where}"))), where)
    labelled = (joints[:, :2] != 0).any(axis=1)
    return Person(root / "images" / str(image), joints[:, :2] - ORIGIN_PX, labelled, box, name=where.split(" of ")[0])
