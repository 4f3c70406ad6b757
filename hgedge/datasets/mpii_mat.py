"""MPII Human Pose as published: `mpii_human_pose_v1_u12_1.mat` and `images/`. Only its training people have labels.

The file's `RELEASE` holds `annolist`, one item a picture with `image.name` and `annorect`, one item a person with
`objpos`, `scale`, the head box `x1 y1 x2 y2` and `annopoints.point` (`id` 0 to 15, `x`, `y`), and `img_train`, which
tells the pictures with labels. People without joints, centre or scale are left out. `unit_px` is 0.6 of the head box's
diagonal. Pixels are counted from 1 in the file and from 0 here; centre and scale are adjusted here.

Source: Andriluka et al., "2D Human Pose Estimation", CVPR 2014, and the release's README.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hgedge.datasets.annotations import numbers, read_mat
from hgedge.datasets.center_scale import adjusted, box_of_center_scale
from hgedge.datasets.keypoint_sets import MPII16
from hgedge.datasets.mpii import ORIGIN_PX
from hgedge.datasets.mpii_val import HEAD_SHARE
from hgedge.datasets.person import Dataset, Person
from hgedge.errors import SourceError

FILES = ("mpii_human_pose_v1_u12_1.mat", "images/")


def recognises(root: Path) -> bool:
    """Whether a folder has this layout; pictures may be missing until they are read."""
    return (root / FILES[0]).is_file()


def splits(root: Path) -> tuple[str, ...]:
    """`train` alone: the joints of the test people are not published."""
    return ("train",)


def read(root: Path, split: str) -> Dataset:
    """Read the training people who have joints, a centre and a scale.

    Raises:
        SourceError: The file cannot be read, or is built otherwise.
    """
    path = root / FILES[0]
    (release,) = read_mat(path, "RELEASE", objects=True)
    try:
        pictures, in_training = _items(release.annolist), np.atleast_1d(release.img_train)
        if len(pictures) != len(in_training):
            raise SourceError(f"{path} has {len(pictures)} pictures, but img_train has {len(in_training)} entries")
        people = [
            person
            for index, picture in enumerate(pictures)
            if in_training[index] == 1
            for person in _people(root, picture, f"picture {index} of {path}")
        ]
    except (AttributeError, TypeError, ValueError) as error:
        raise SourceError(f"{path} is not built as MPII's release is: {error}") from error
    return Dataset("mpii", split, MPII16, tuple(people))


def _people(root: Path, picture: Any, where: str) -> Iterator[Person]:
    for number, rect in enumerate(_items(picture.annorect)):
        points, scale, place = (_items(getattr(rect, name, ())) for name in ("annopoints", "scale", "objpos"))
        if not (points and scale and place):
            continue
        keypoints, labelled = np.zeros((len(MPII16), 2)), np.zeros(len(MPII16), bool)
        for point in _items(points[0].point):
            joint = int(point.id)
            if not 0 <= joint < len(MPII16):
                raise SourceError(f"{where} has a joint of id {joint}; expected 0 to {len(MPII16) - 1}")
            keypoints[joint] = point.x - ORIGIN_PX, point.y - ORIGIN_PX
            labelled[joint] = True
        center = numbers([place[0].x, place[0].y], (2,), f"objpos of {where}") - ORIGIN_PX
        box = box_of_center_scale(*adjusted(center, float(scale[0])), where)
        head = numbers([rect.x2 - rect.x1, rect.y2 - rect.y1], (2,), f"the head box of {where}")
        unit = HEAD_SHARE * float(np.hypot(*head))
        if labelled.any():
            image = root / "images" / str(picture.image.name)
            yield Person(image, keypoints, labelled, box, unit_px=unit, name=f"{image.stem}#{number}")


def _items(value: Any) -> list[Any]:
    """What MATLAB holds as a list: SciPy gives one item bare, and none as an empty array."""
    return list(np.atleast_1d(np.asarray(value, dtype=object)).ravel())
