"""Leeds Sports Pose Extended Training: sports photographs, one person each, 14 joints.

Source: Johnson and Everingham, "Learning Effective Human Pose Estimation from Inaccurate Annotation", CVPR 2011.
Layout: `images/`, `joints.mat` (joints: 14 x 3 x N = joint, (x, y, labelled), row) and `index.csv` (row, image, split).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from hgedge.datasets.keypoint_sets import LSP14
from hgedge.datasets.person import Dataset, Person, box_of_joints
from hgedge.errors import ConfigError, SourceError

FILES = ("index.csv", "joints.mat", "images")


def recognises(root: Path) -> bool:
    """Whether a folder has this layout."""
    return all((root / name).exists() for name in FILES)


def read(root: Path, split: str) -> Dataset:
    """Read the people of one split who have at least one labelled joint.

    Args:
        root: Folder with `index.csv`, `joints.mat` and `images/`.
        split: A name from the `split` column of `index.csv`.

    Raises:
        SourceError: The two files do not fit together or cannot be read.
        ConfigError: No row has this split.
    """
    joints = _read_joints(root / "joints.mat")
    with open(root / "index.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = {"row", "image", "split"} - set(rows[0] if rows else ())
    if missing:
        raise SourceError(
            f"{root / 'index.csv'} must have the columns row, image and split; missing: {sorted(missing)}"
        )
    splits = sorted({row["split"] for row in rows})
    if split not in splits:
        raise ConfigError(f"{root} has no split {split!r}; its index.csv has: {', '.join(splits)}")
    people = []
    for row in rows:
        if row["split"] != split:
            continue
        if not row["row"].isdecimal() or int(row["row"]) >= joints.shape[2]:
            raise SourceError(
                f"{root / 'index.csv'} names row {row['row']!r}, but joints.mat has rows 0 to {joints.shape[2] - 1}"
            )
        index = int(row["row"])
        keypoints, labelled = joints[:, :2, index], joints[:, 2, index] > 0
        if labelled.any():
            people.append(
                Person(root / "images" / row["image"], keypoints, labelled, box_of_joints(keypoints, labelled))
            )
    return Dataset("lspet", split, LSP14, tuple(people))


def _read_joints(path: Path) -> np.ndarray:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        joints = loadmat(path)["joints"]
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError, MatReadError) as error:
        raise SourceError(f"{path} is not a MATLAB 5 file with 'joints': {error}") from error
    if joints.ndim != 3 or joints.shape[:2] != (len(LSP14), 3):
        raise SourceError(f"'joints' in {path} must be 14 x 3 x N, but is {' x '.join(map(str, joints.shape))}")
    return np.asarray(joints, dtype=np.float64)
