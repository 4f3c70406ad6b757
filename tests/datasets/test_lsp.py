"""LSP and LSP Extended as published, on joints.mat files of their shapes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import loadmat, savemat

import hgedge.datasets
from hgedge.errors import ConfigError, SourceError


def folder(path, joints):
    (path / "images").mkdir(exist_ok=True)
    savemat(path / "joints.mat", {"joints": joints})
    return path


def test_lsp_has_every_joint_and_two_halves(tmp_path):
    joints = np.random.default_rng(0).uniform(1, 100, (3, 14, 2000))
    joints[2] = np.random.default_rng(1).integers(0, 2, (14, 2000))  # hidden or not: no word on labels
    root = folder(tmp_path, joints)
    assert hgedge.datasets.splits(root) == ("train", "test")
    for split, first in (("train", 0), ("test", 1000)):
        dataset = hgedge.datasets.open(root, split)
        assert (dataset.name, len(dataset)) == ("lsp", 1000)
        assert all(person.labelled.all() for person in dataset.people)
        assert dataset.people[0].image == root / "images" / f"im{first + 1:04}.jpg"
        np.testing.assert_array_equal(dataset.people[999].keypoints, joints[:2, :, first + 999].T)
    assert hgedge.datasets.open(root).split == "test"


def test_lsp_extended_is_training_alone_and_leaves_people_without_labels_out(tmp_path, shared_data):
    real = loadmat(shared_data / "lspet" / "joints.mat")["joints"]
    root = folder(tmp_path, real)
    dataset = hgedge.datasets.open(root, "train")
    kept = np.flatnonzero(real[:, 2].any(axis=0))
    assert dataset.name == "lspet"
    assert [person.image.name for person in dataset.people] == [f"im{row + 1:05}.jpg" for row in kept]
    for person, row in zip(dataset.people[::97], kept[::97]):
        np.testing.assert_array_equal(person.labelled, real[:, 2, row] > 0)
        np.testing.assert_array_equal(person.keypoints, real[:, :2, row])
        points = person.keypoints[person.labelled]  # boxes know nothing of what unlabelled joints say
        longer = max((points.max(axis=0) - points.min(axis=0)).max(), 1)
        assert person.box_xyxy[2] - person.box_xyxy[0] == pytest.approx(1.25 * longer)
    with pytest.raises(ConfigError, match="has no split 'val'; it has: train"):
        hgedge.datasets.open(root, "val")


def test_a_person_without_labels_is_left_out(tmp_path):
    joints = np.ones((14, 3, 4))
    joints[:, 2, 1] = 0
    names = [person.name for person in hgedge.datasets.open(folder(tmp_path, joints), "train").people]
    assert names == ["im00001", "im00003", "im00004"]


def test_a_missing_picture_is_told_when_it_is_read(tmp_path):
    person = hgedge.datasets.open(folder(tmp_path, np.ones((14, 3, 2))), "train").people[0]
    with pytest.raises(SourceError, match=r"im00001.jpg cannot be read: No such file"):
        person.read()


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        (np.ones((14, 2, 5)), r"\(LSP Extended; for LSP 3 x 14 x N\) must be 14 x 3 x N numbers, but is 14 x 2 x 5"),
        (np.ones((3, 14)), "must be 3 x 14 x N numbers, but is 3 x 14"),
        (np.array([["a", 1], [2, 3]], dtype=object), "cannot be read as such"),
    ],
)
def test_other_shapes_are_refused(tmp_path, joints, message):
    with pytest.raises(SourceError, match=message):
        hgedge.datasets.open(folder(tmp_path, joints), "train")
