"""Faces of YouTube videos with 68 points, and with the 15 of Kaggle's Facial Keypoints set.

Layout: `faces96.npz` (`image` N x 96 x 96 grey, `points15`, `points68` in pixels, `frame` file names), and besides
`frames.csv` (image, x0, y0, ... y67) with `frames/`, whole pictures in colour.

| split | data set | what |
| --- | --- | --- |
| `train`, `val` | `faces68` | crops with 68 points; `unit_px` is the distance of the eyes' outer corners |
| `train15`, `val15` | `faces15` | the same crops with 15 points; `unit_px` is the distance of the eyes' centres |
| `frames` | `faces68` | the whole pictures; most of their subjects are in `train` or `val` too |

A frame's subject is its name without the number. A subject is in `val` if the CRC-32 of its name is a multiple of 5,
else in `train`: nobody is in both. Points may lie outside their crop. NME by the outer corners is called inter-ocular,
by the centres inter-pupil; the same faces give larger errors by the second.

Source: Sagonas et al., "300 Faces In-The-Wild Challenge", 2016 (norms of 68 points).
"""

from __future__ import annotations

import csv
import re
import zlib
from pathlib import Path

import numpy as np

from hgedge.datasets.annotations import numbers
from hgedge.datasets.face_sets import FACE68, eye_distance
from hgedge.datasets.keypoint_sets import FACE15
from hgedge.datasets.person import Dataset, Person, box_of_joints
from hgedge.errors import SourceError
from hgedge.geometry import whole_frame_box

FILES = ("faces96.npz",)
VAL_SHARE = 5  # one subject in so many


def recognises(root: Path) -> bool:
    """Whether a folder has this layout."""
    return (root / FILES[0]).is_file()


def splits(root: Path) -> tuple[str, ...]:
    """Crops by number of points, and whole frames where they are there."""
    crops = ("train", "val", "train15", "val15")
    return (*crops, "frames") if (root / "frames.csv").is_file() else crops


def read(root: Path, split: str) -> Dataset:
    """Read the faces of one split.

    Raises:
        SourceError: A file cannot be read, or has another shape.
    """
    if split == "frames":
        return _frames(root)
    keypoint_set = FACE15 if split.endswith("15") else FACE68
    count = len(keypoint_set)
    path = root / FILES[0]
    pictures, points, frames = _arrays(path, "image", f"points{count}", "frame")
    if pictures.ndim != 3 or pictures.dtype != np.uint8:
        raise SourceError(f"'image' in {path} must be N x H x W uint8, but is {pictures.shape} {pictures.dtype}")
    points = numbers(points, (len(pictures), count, 2), f"'points{count}' in {path}")
    if frames.shape != (len(pictures),):
        raise SourceError(f"'frame' in {path} must name {len(pictures)} pictures, but has shape {frames.shape}")
    box = whole_frame_box(pictures.shape[1:])
    people = []
    for picture, keypoints, frame in zip(pictures, points, frames):
        labelled, subject = np.isfinite(keypoints).all(axis=1), subject_of(str(frame))
        if labelled.any() and is_val(subject) == split.startswith("val"):
            unit = eye_distance(keypoint_set, keypoints, labelled)
            people.append(Person(path, keypoints, labelled, box, pixels=picture, unit_px=unit, name=subject))
    return Dataset(f"faces{count}", split, keypoint_set, tuple(people))


def subject_of(frame: str) -> str:
    """The subject of a frame, such as `Adam_Sandler` of `Adam_Sandler_01.jpg`."""
    return re.sub(r"_\d+(\.\w+)?$", "", frame)


def is_val(subject: str) -> bool:
    """Whether a subject is in the validation split."""
    return zlib.crc32(subject.encode()) % VAL_SHARE == 0


def _arrays(path: Path, *names: str) -> tuple[np.ndarray, ...]:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return tuple(archive[name] for name in names)
    except Exception as error:  # NumPy lets through whatever damaged bytes lead to
        raise SourceError(f"{path} is not an .npz file with {', '.join(names)}, or is cut off: {error}") from error


def _frames(root: Path) -> Dataset:
    path = root / "frames.csv"
    columns = [f"{axis}{point}" for point in range(len(FACE68)) for axis in "xy"]
    people = []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            keypoints = np.array([float(row[column]) for column in columns]).reshape(-1, 2)
            labelled = np.isfinite(keypoints).all(axis=1)
            if labelled.any():
                box, unit = box_of_joints(keypoints, labelled), eye_distance(FACE68, keypoints, labelled)
                image = root / "frames" / row["image"]
                people.append(Person(image, keypoints, labelled, box, unit_px=unit, name=subject_of(image.name)))
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{path} must have image, x0, y0 to y67 in every row, but: {error!r}") from error
    return Dataset("faces68", "frames", FACE68, tuple(people))
