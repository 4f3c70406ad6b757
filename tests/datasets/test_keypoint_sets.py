"""Keypoint sets: left and right in a mirror, by names, by lists of other projects, and by what faces look like."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hgedge.datasets.keypoint_sets import KEYPOINT_SETS
from hgedge.datasets.mirror import mirrored_indices

# mirrored pairs as other projects list them
PAIRS = {
    "coco17": [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)],
    "posetrack17": [(3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)],
    "aic14": [(0, 3), (1, 4), (2, 5), (6, 9), (7, 10), (8, 11)],
    "jhmdb15": [(3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14)],
    "flic11": [(0, 3), (1, 4), (2, 5), (6, 7), (8, 9)],
    "aflw19": [(0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9), (12, 14), (15, 17)],
    "cofw29": [(0, 1), (2, 3), (4, 6), (5, 7), (8, 9), (10, 11), (12, 14), (13, 15), (16, 17), (18, 19), (22, 23)],
    "wflw98": [
        *[(i, 32 - i) for i in range(16)],
        *[(33, 46), (34, 45), (35, 44), (36, 43), (37, 42), (38, 50), (39, 49), (40, 48), (41, 47)],
        *[(55, 59), (56, 58), (60, 72), (61, 71), (62, 70), (63, 69), (64, 68), (65, 75), (66, 74), (67, 73)],
        *[(76, 82), (77, 81), (78, 80), (83, 87), (84, 86), (88, 92), (89, 91), (93, 95), (96, 97)],
    ],
}


@pytest.mark.parametrize("name", KEYPOINT_SETS)
def test_a_mirror_exchanges_left_and_right_and_twice_changes_nothing(name):
    keypoint_set = KEYPOINT_SETS[name]
    flip = keypoint_set.flip_indices
    assert len(set(keypoint_set.names)) == len(keypoint_set)
    assert [flip[flip[i]] for i in range(len(flip))] == list(range(len(flip)))
    for i, keypoint in enumerate(keypoint_set.names):
        swapped = keypoint.replace("left", "@").replace("right", "left").replace("@", "right")
        assert keypoint_set.names[flip[i]] == swapped
        assert (flip[i] == i) == ("left" not in keypoint and "right" not in keypoint)
    assert len({frozenset(limb) for limb in keypoint_set.skeleton}) == len(keypoint_set.skeleton)


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_are_those_that_others_list(name):
    flip = KEYPOINT_SETS[name].flip_indices
    assert [(i, j) for i, j in enumerate(flip) if i < j] == sorted(PAIRS[name])


@pytest.mark.parametrize("count", [15, 68])
def test_mean_face_is_its_own_mirror_image(shared_data, count):
    """In the mean of a thousand faces, the mirrored point lies nearest to the one that flip_indices names."""
    mean = np.load(shared_data / "faces" / "faces96.npz")[f"points{count}"].mean(axis=0)
    mirrored = np.column_stack([2 * mean[:, 0].mean() - mean[:, 0], mean[:, 1]])
    nearest = np.linalg.norm(mirrored[:, None] - mean, axis=-1).argmin(axis=1)
    keypoint_set = KEYPOINT_SETS[f"face{count}"]
    assert nearest.tolist() == list(keypoint_set.flip_indices)
    right = [i for i, name in enumerate(keypoint_set.names) if "right" in name]
    assert (mean[right, 0] < mean[list(np.array(keypoint_set.flip_indices)[right]), 0]).all()  # on the picture's left


@pytest.mark.parametrize(
    ("file", "name"), [("coco/test_coco", "coco17"), ("aic/test_aic", "aic14"), ("jhmdb/test_jhmdb_sub1", "jhmdb15")]
)
def test_limbs_are_those_of_the_data_sets_own_files(shared_data, file, name):
    category = json.loads((shared_data / "fixtures" / f"{file}.json").read_text())["categories"][0]
    assert [list(limb) for limb in KEYPOINT_SETS[name].skeleton] == [[a - 1, b - 1] for a, b in category["skeleton"]]


def test_sides_are_words_of_their_own():
    names = ("left_eye", "right_eye", "knee_l", "knee_r", "eye left", "eye right", "upright", "lefty", "left_only")
    assert mirrored_indices(names) == (1, 0, 3, 2, 5, 4, 6, 7, 8)
