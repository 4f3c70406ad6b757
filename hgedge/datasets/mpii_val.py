"""MPII's validation split as results are published for it: Tompson et al.'s truth, the hourglass authors' crops.

Layout: `detections_our_format.mat` (truth and head boxes), `valid.h5` (centres and scales, already adjusted; names of
pictures) and `images/`, of which any may be missing as long as only published predictions are scored. One split,
`val`: 2,958 people, all of them, in the order of the published predictions.

`unit_px` is PCKh's: 0.6 of the head box's diagonal. Coordinates stay as published, since predictions are compared with
them as they are: MPII counts pixels from 1, so the first pixel's centre is at (1, 1), which is `Dataset.origin_px`.

Source: Tompson et al., "Efficient Object Localization Using Convolutional Networks", CVPR 2015 (split and truth).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hgedge.datasets.annotations import numbers, read_hdf5, read_mat
from hgedge.datasets.center_scale import box_of_center_scale
from hgedge.datasets.keypoint_sets import MPII16
from hgedge.datasets.mpii import ORIGIN_PX
from hgedge.datasets.person import Dataset, Person

FILES = ("detections_our_format.mat", "valid.h5")
HEAD_SHARE = 0.6  # of the head box's diagonal: MPII's own evaluation


def recognises(root: Path) -> bool:
    """Whether a folder has this layout."""
    return all((root / name).is_file() for name in FILES)


def splits(root: Path) -> tuple[str, ...]:
    """`val` alone."""
    return ("val",)


def read(root: Path, split: str) -> Dataset:
    """Read all 2,958 people; everybody has a labelled joint.

    Raises:
        SourceError: A file cannot be read, or the two do not fit together.
    """
    truth, crops = (root / name for name in FILES)
    joints, missing, heads = read_mat(truth, "pos_gt_src", "jnt_missing", "headboxes_src")
    count = len(MPII16)
    keypoints = numbers(joints, (count, 2, -1), f"'pos_gt_src' in {truth}").transpose(2, 0, 1)
    people = len(keypoints)
    labelled = numbers(missing, (count, people), f"'jnt_missing' in {truth}").T == 0
    corners = numbers(heads, (2, 2, people), f"'headboxes_src' in {truth}")
    units = HEAD_SHARE * np.linalg.norm(corners[1] - corners[0], axis=0)
    names, centers, scales = read_hdf5(crops, "imgname", "center", "scale")
    centers = numbers(centers, (people, 2), f"'center' in {crops}")
    scales = numbers(scales, (people,), f"'scale' in {crops}")
    files = [bytes(name).split(b"\0")[0].decode("utf-8", "replace") for name in names]
    return Dataset(
        "mpii_val",
        split,
        MPII16,
        tuple(
            Person(
                root / "images" / files[row],
                keypoints[row],
                labelled[row],
                box_of_center_scale(centers[row], scales[row], f"row {row} of {crops}"),
                unit_px=float(units[row]),
                name=f"row {row}",
            )
            for row in range(people)
        ),
        origin_px=ORIGIN_PX,
    )
