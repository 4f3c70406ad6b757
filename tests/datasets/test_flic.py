"""FLIC on an examples.mat of its structure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import savemat

import hgedge.datasets
from hgedge.errors import SourceError

FIELDS = ("moviename", "coords", "filepath", "imgdims", "torsobox", "istrain", "istest")
USED = [0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 16]


def coordinates(seed):
    values = np.full((2, 29), np.nan)
    values[:, USED] = np.random.default_rng(seed).uniform(0, 480, (2, 11))
    return values


def examples(path, rows):
    savemat(path, {"examples": np.array([rows], dtype=[(field, object) for field in FIELDS])})


def row(seed, train=True, coords=None, torso=(100.0, 50.0, 160.0, 150.0)):
    coords = coordinates(seed) if coords is None else coords
    flags = (np.array(train, np.uint8), np.array(not train, np.uint8))
    return ("movie", coords, f"{seed}.jpg", np.array([480.0, 720, 3]), np.array(torso), *flags)


def test_eleven_of_the_columns_and_both_splits(tmp_path):
    one_missing = coordinates(2)
    one_missing[:, 4] = np.nan
    nobody = np.full((2, 29), np.nan)
    examples(
        tmp_path / "examples.mat", [row(0), row(1, train=False), row(2, coords=one_missing), row(3, coords=nobody)]
    )
    train, test = (hgedge.datasets.open(tmp_path, split) for split in ("train", "test"))
    assert [person.image.name for person in train.people] == ["0.jpg", "2.jpg"]
    assert [person.image.name for person in test.people] == ["1.jpg"]
    np.testing.assert_allclose(test.people[0].keypoints, coordinates(1)[:, USED].T)
    assert train.keypoint_set.names[7] == "right_hip" and train.keypoint_set.names[10] == "nose"
    assert train.people[1].labelled.tolist() == [True] * 4 + [False] + [True] * 6
    assert train.people[0].box_xyxy.tolist() == [130 - 150, 100 - 150, 130 + 150, 100 + 150]  # 3 x 100 px of torso


def test_one_example_is_a_list_too(tmp_path):
    examples(tmp_path / "examples.mat", [row(0)])
    assert len(hgedge.datasets.open(tmp_path, "train")) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(0, coords=np.ones((2, 28)))], "coords of example 0 of .* must be 2 x 29 numbers, but is 2 x 28"),
        ([row(0, torso=(1.0, 2.0, 3.0))], "torsobox of example 0 of .* must be 4 numbers, but is 3"),
        ([row(0, torso=(1.0, 2.0, 3.0, np.nan))], "must be four finite numbers"),
    ],
)
def test_other_structures_are_refused(tmp_path, rows, message):
    examples(tmp_path / "examples.mat", rows)
    with pytest.raises(SourceError, match=message):
        hgedge.datasets.open(tmp_path, "train")


def test_a_file_of_something_else_is_refused(tmp_path):
    savemat(tmp_path / "examples.mat", {"examples": np.ones(3)})
    with pytest.raises(SourceError, match="is not built as FLIC's are"):
        hgedge.datasets.open(tmp_path, "train")
