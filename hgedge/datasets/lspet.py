"""Leeds Sports Pose Extended Training with an index: sports photographs, one person each, 14 joints.

Source: Johnson and Everingham, "Learning Effective Human Pose Estimation from Inaccurate Annotation", CVPR 2011.
Layout: `images/`, `joints.mat` (joints: 14 x 3 x N = joint, (x, y, labelled), row) and `index.csv` (row, image, split).
"""

from __future__ import annotations

import csv
from pathlib import Path

from hgedge.datasets.annotations import numbers, read_mat
from hgedge.datasets.keypoint_sets import LSP14
from hgedge.datasets.person import Dataset, Person, box_of_joints
from hgedge.errors import SourceError

FILES = ("index.csv", "joints.mat", "images/")


def recognises(root: Path) -> bool:
    """Whether a folder has this layout."""
    return all((root / name).exists() for name in FILES)


def splits(root: Path) -> tuple[str, ...]:
    """The names in the `split` column of `index.csv`."""
    return tuple(sorted({row["split"] for row in _rows(root)}))


def read(root: Path, split: str) -> Dataset:
    """Read the people of one split who have at least one labelled joint.

    Raises:
        SourceError: The two files do not fit together or cannot be read.
    """
    path = root / "joints.mat"
    joints = numbers(read_mat(path, "joints")[0], (len(LSP14), 3, -1), f"'joints' in {path}")
    people = []
    for row in _rows(root):
        if row["split"] != split:
            continue
        if not row["row"].isdecimal() or int(row["row"]) >= joints.shape[2]:
            raise SourceError(
                f"{root / 'index.csv'} names row {row['row']!r}, but joints.mat has rows 0 to {joints.shape[2] - 1}"
            )
        index = int(row["row"])
        keypoints, labelled = joints[:, :2, index], joints[:, 2, index] > 0
        if labelled.any():
            image = root / "images" / row["image"]
            people.append(Person(image, keypoints, labelled, box_of_joints(keypoints, labelled), name=image.stem))
    return Dataset("lspet", split, LSP14, tuple(people))


def _rows(root: Path) -> list[dict[str, str]]:
    path = root / "index.csv"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    missing = {"row", "image", "split"} - set(rows[0] if rows else ())
    if missing:
        raise SourceError(f"{path} must have the columns row, image and split; missing: {sorted(missing)}")
    return rows
