"""Drawn people where there is no data: `figures` or `figures:N` in place of a folder's name.

N people (200 if not said) of 14 joints, each in a picture of its own. Person i is drawn with seed i, so the same N
gives the same people everywhere; every fifth is in `val`, the others are in `train`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hgedge.datasets.keypoint_sets import LSP14
from hgedge.datasets.person import Dataset, Person, box_of_joints
from hgedge.errors import ConfigError

FILES = ("no files: figures or figures:N in place of a folder draws N people",)
SIZE_HW = (256, 256)
COUNT = 200
LEAST, MOST = 5, 10_000  # a picture takes 10 ms and 200 kB
VAL_EVERY = 5


def recognises(root: Path) -> bool:
    """Whether a name asks for drawn people."""
    return root.name.partition(":")[0] == "figures" and root.parent == Path() and not root.exists()


def splits(root: Path) -> tuple[str, ...]:
    """`train` and `val`."""
    return ("train", "val")


def read(root: Path, split: str) -> Dataset:
    """Draw the people of one split.

    Raises:
        ConfigError: N is not a number between 5 and 10,000.
    """
    from hgedge.visualization.figures import figure_picture

    count = _count(root.name)
    people = []
    for seed in range(count):
        if (seed % VAL_EVERY == VAL_EVERY - 1) == (split == "val"):
            picture, keypoints = figure_picture(SIZE_HW, seed)
            joints, labelled = keypoints.astype(np.float64), np.ones(len(LSP14), bool)
            box = box_of_joints(joints, labelled)
            people.append(Person(root, joints, labelled, box, pixels=picture, name=f"figure {seed}"))
    return Dataset("figures", split, LSP14, tuple(people))


def _count(name: str) -> int:
    _, colon, text = name.partition(":")
    count = int(text) if text.isdecimal() and len(text) < 10 else -1
    if not colon:
        return COUNT
    if not LEAST <= count <= MOST:
        raise ConfigError(f"{name!r} must be figures:N with N from {LEAST} to {MOST}, such as figures:{COUNT}")
    return count
