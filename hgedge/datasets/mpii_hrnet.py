"""MPII Human Pose as the lists that HRNet and mmpose train on.

Layout: `annot/train.json` and `annot/valid.json` with `images/` (splits `train` and `val`), or one `annotations.json`
beside its pictures (split `all`). Each is a list of people with `image`, `center` and `scale` (neither adjusted),
`joints` 16 x 2 and `joints_vis`, 0 where there is no label. As in `mpii`, pixels are counted from 1 in the lists and
from 0 here, and there are no head boxes, so `unit_px` is None.

Source: Sun et al., "Deep High-Resolution Representation Learning for Human Pose Estimation", CVPR 2019.
"""

from __future__ import annotations

from pathlib import Path

from hgedge.datasets.annotations import begins_with, fields, numbers, read_json
from hgedge.datasets.center_scale import adjusted, box_of_center_scale
from hgedge.datasets.keypoint_sets import MPII16
from hgedge.datasets.mpii import ORIGIN_PX
from hgedge.datasets.person import Dataset, Person
from hgedge.errors import SourceError

FILES = ("annot/train.json and annot/valid.json with images/, or annotations.json, with joints_vis",)
LISTS = {
    "train": ("annot/train.json", "images"),
    "val": ("annot/valid.json", "images"),
    "all": ("annotations.json", ""),
}
KEYS = ("image", "center", "scale", "joints", "joints_vis")


def recognises(root: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(splits(root))


def splits(root: Path) -> tuple[str, ...]:
    """Those whose list is there."""
    return tuple(name for name, (file, _) in LISTS.items() if begins_with(root / file, b"[", (b'"joints_vis"',)))


def read(root: Path, split: str) -> Dataset:
    """Read the people of one list who have at least one labelled joint.

    Raises:
        SourceError: The list cannot be read, or is another one.
    """
    file, folder = LISTS[split]
    records = read_json(root / file)
    if not isinstance(records, list):
        raise SourceError(f"{root / file} must hold a list of people, but holds a {type(records).__name__}")
    people = []
    for index, record in enumerate(records):
        where = f"person {index} of {root / file}"
        image, center, scale, joints, visible = fields(record, KEYS, where)
        labelled = numbers(visible, (len(MPII16),), f"joints_vis of {where}") > 0
        keypoints = numbers(joints, (len(MPII16), 2), f"joints of {where}") - ORIGIN_PX
        place = numbers(center, (2,), f"center of {where}") - ORIGIN_PX
        box = box_of_center_scale(*adjusted(place, float(numbers(scale, (), f"scale of {where}"))), where)
        if labelled.any():
            people.append(Person(root / folder / str(image), keypoints, labelled, box, name=f"person {index}"))
    return Dataset("mpii", split, MPII16, tuple(people))
