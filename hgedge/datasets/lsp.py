"""Leeds Sports Pose and its extended training set, as published: one person a photograph, 14 joints.

Layout: `images/` and `joints.mat`, with pictures numbered from 1. Told apart by the shape of `joints`:

- LSP: 3 x 14 x 2000 = (x, y, hidden), joint, picture `im0001.jpg` ...; the first half is `train`, the second `test`.
  Every joint is labelled: the third number tells which ones cannot be seen, so it says nothing about that.
- LSP Extended: 14 x 3 x 10000 = joint, (x, y, labelled), picture `im00001.jpg` ...; all of it is `train`.

Source: Johnson and Everingham, "Clustered Pose and Nonlinear Appearance Models", BMVC 2010, and CVPR 2011 (extended).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hgedge.datasets.annotations import numbers, read_mat
from hgedge.datasets.keypoint_sets import LSP14
from hgedge.datasets.person import Dataset, Person, box_of_joints

FILES = ("joints.mat", "images/")


def recognises(root: Path) -> bool:
    """Whether a folder has this layout."""
    return all((root / name).exists() for name in FILES)


def splits(root: Path) -> tuple[str, ...]:
    """LSP has `train` and `test`, LSP Extended `train` alone."""
    return ("train",) if _read(root)[0] == "lspet" else ("train", "test")


def read(root: Path, split: str) -> Dataset:
    """Read the people of one split who have at least one labelled joint.

    Raises:
        SourceError: `joints.mat` cannot be read, or has another shape.
    """
    name, digits, keypoints, labelled = _read(root)
    half = len(keypoints) if name == "lspet" else len(keypoints) // 2
    rows = range(half) if split == "train" else range(half, len(keypoints))
    people = []
    for row in rows:
        if labelled[row].any():
            image = root / "images" / f"im{row + 1:0{digits}}.jpg"
            box = box_of_joints(keypoints[row], labelled[row])
            people.append(Person(image, keypoints[row], labelled[row], box, name=image.stem))
    return Dataset(name, split, LSP14, tuple(people))


def _read(root: Path) -> tuple[str, int, np.ndarray, np.ndarray]:
    """Name of the data set, digits in a picture's name, (N, 14, 2) keypoints and (N, 14) whether labelled."""
    path = root / "joints.mat"
    joints = read_mat(path, "joints")[0]
    where = f"'joints' in {path}"
    if np.shape(joints)[:2] == (3, len(LSP14)):
        joints = numbers(joints, (3, len(LSP14), -1), where).transpose(2, 1, 0)
        return "lsp", 4, joints[..., :2], np.isfinite(joints[..., :2]).all(axis=-1)
    joints = numbers(joints, (len(LSP14), 3, -1), f"{where} (LSP Extended; for LSP 3 x 14 x N)").transpose(2, 0, 1)
    return "lspet", 5, joints[..., :2], joints[..., 2] > 0
