"""Recognising data sets, and drawn people where there is none."""

from __future__ import annotations

import numpy as np
import pytest

import hgedge.datasets
from hgedge.errors import ConfigError, SourceError


def test_a_folder_of_something_else_tells_what_was_sought_and_found(tmp_path):
    for name in ("notes.txt", "photo.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(SourceError) as raised:
        hgedge.datasets.open(tmp_path)
    message = str(raised.value)
    for layout in ("lspet (index.csv", "lsp (joints.mat", "mpii_val (detections_our", "flic (examples", "coco (*.json"):
        assert layout in message
    assert message.endswith("found: notes.txt, photo.jpg")
    assert not hgedge.datasets.recognised(tmp_path)


def test_long_lists_are_cut(tmp_path):
    for index in range(30):
        (tmp_path / f"{index:02}.jpg").touch()
    with pytest.raises(SourceError, match=r"found: 00.jpg, .*07.jpg and 22 more$"):
        hgedge.datasets.open(tmp_path)


@pytest.mark.parametrize(
    ("folder", "splits", "default"),
    [
        ("lspet", ("train", "val"), "val"),
        ("mpii_val", ("val",), "val"),
        ("coco_mini", ("all",), "all"),
        ("fixtures/coco", ("test", "all"), "test"),
        ("fixtures/posetrack18", ("val", "all"), "val"),
    ],
)
def test_default_splits(shared_data, folder, splits, default):
    assert hgedge.datasets.splits(shared_data / folder) == splits
    assert hgedge.datasets.open(shared_data / folder).split == default


def test_everybody_has_a_crop_and_a_label(shared_data):
    for folder in ("lspet", "mpii_val", "coco_mini", "faces"):
        dataset = hgedge.datasets.open(shared_data / folder)
        for person in dataset.people:
            assert person.labelled.any() and person.labelled.shape == (len(dataset.keypoint_set),)
            assert np.isfinite(person.keypoints[person.labelled]).all() and person.name
            box = person.box_xyxy
            assert np.isfinite(box).all() and box[2] - box[0] == pytest.approx(box[3] - box[1]) and box[2] > box[0]


def test_drawn_people_are_the_same_everywhere():
    train, val = (hgedge.datasets.open("figures:10", split) for split in ("train", "val"))
    assert (train.name, len(train), len(val)) == ("figures", 8, 2)
    assert [person.name for person in val.people] == ["figure 4", "figure 9"]
    again = hgedge.datasets.open("figures:20", "train").people[0]
    np.testing.assert_array_equal(train.people[0].pixels, again.pixels)
    np.testing.assert_array_equal(train.people[0].keypoints, again.keypoints)
    assert not np.array_equal(train.people[0].pixels, train.people[1].pixels)
    person = val.people[0]
    assert person.read().shape == (256, 256, 3) and person.labelled.all()
    right = train.keypoint_set.names.index("right_shoulder")
    assert person.keypoints[right, 0] < person.keypoints[train.keypoint_set.flip_indices[right], 0]


@pytest.mark.parametrize(
    "name", ["figures:", "figures:4", "figures:many", "figures:-9", "figures:10001", "figures:2.5"]
)
def test_a_wrong_number_of_drawn_people_is_refused(name):
    with pytest.raises(ConfigError, match="must be figures:N with N from 5 to 10000, such as figures:200"):
        hgedge.datasets.open(name)


def test_a_folder_called_figures_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "figures").mkdir()
    with pytest.raises(SourceError, match="figures holds no data set that hgedge knows"):
        hgedge.datasets.open("figures")
    with pytest.raises(SourceError, match="no such data folder: elsewhere/figures"):
        hgedge.datasets.open("elsewhere/figures")
