"""The reader against the files' own numbers."""

import csv
import shutil

import cv2
import numpy as np
import pytest
from scipy.io import loadmat, savemat

import hgedge.datasets
from hgedge.errors import ConfigError, SourceError


def test_splits_and_labels(shared_data):
    root = shared_data / "lspet"
    joints = loadmat(root / "joints.mat")["joints"]
    rows = list(csv.DictReader((root / "index.csv").read_text().splitlines()))
    for split in ("train", "val"):
        dataset = hgedge.datasets.open(root, split)
        expected = [row for row in rows if row["split"] == split and int(row["labelled_joints"])]
        assert [person.image.name for person in dataset.people] == [row["image"] for row in expected]
        assert [int(person.labelled.sum()) for person in dataset.people] == [
            int(row["labelled_joints"]) for row in expected
        ]
        first, row = dataset.people[0], int(expected[0]["row"])
        np.testing.assert_array_equal(first.keypoints, joints[:, :2, row])


def test_labelled_joints_lie_in_their_box_and_mostly_in_the_picture(shared_data):
    inside = total = 0
    for person in hgedge.datasets.open(shared_data / "lspet", "val").people[:100]:
        points, box = person.keypoints[person.labelled], person.box_xyxy
        assert (points >= box[:2]).all() and (points <= box[2:]).all()
        assert box[2] - box[0] == pytest.approx(box[3] - box[1])
        height, width = cv2.imread(str(person.image)).shape[:2]
        inside += ((points >= 0) & (points <= [width, height])).all(axis=1).sum()
        total += len(points)
    assert inside / total > 0.98


def test_a_split_is_a_name_from_the_index(shared_data, tmp_path):
    copy_labels(shared_data, tmp_path)
    text = (tmp_path / "index.csv").read_text().replace(",val,", ",Prüfung,")
    (tmp_path / "index.csv").write_text(text, encoding="utf-8")
    assert len(hgedge.datasets.open(tmp_path, "Prüfung")) == 597
    with pytest.raises(ConfigError, match=r"has no split 'val'; it has: Prüfung, train"):
        hgedge.datasets.open(tmp_path, "val")


def copy_labels(shared_data, folder):
    for name in ("index.csv", "joints.mat"):
        shutil.copyfile(shared_data / "lspet" / name, folder / name)
    (folder / "images").mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "joints.mat").write_bytes(b"nothing"), "is not a MATLAB 5 file with joints"),
        (lambda root: (root / "index.csv").write_text("image\nim00001.jpg\n"), r"missing: \['row', 'split'\]"),
        (lambda root: (root / "index.csv").write_text(""), "must have the columns"),
        (lambda root: (root / "index.csv").write_text("row,image,split\n9999,im1.jpg,val\n"), "names row '9999'"),
        (lambda root: (root / "index.csv").write_text("row,image,split\nfirst,im1.jpg,val\n"), "names row 'first'"),
        (lambda root: (root / "joints.mat").unlink(), "holds no data set that hgedge knows; looked for: lspet"),
    ],
)
def test_damaged_folders_are_refused(shared_data, tmp_path, damage, message):
    copy_labels(shared_data, tmp_path)
    damage(tmp_path)
    with pytest.raises(SourceError, match=message):
        hgedge.datasets.open(tmp_path, "val")


def test_joints_that_are_no_numbers_are_refused(shared_data, tmp_path):
    copy_labels(shared_data, tmp_path)
    for joints, message in (
        (np.array([["a"], ["b"]], dtype=object), "must be 14 x 3 x N numbers, but cannot be read"),
        (np.ones((14, 4, 9)), "must be 14 x 3 x N numbers, but is 14 x 4 x 9"),
    ):
        savemat(tmp_path / "joints.mat", {"joints": joints})
        with pytest.raises(SourceError, match=message):
            hgedge.datasets.open(tmp_path, "val")


def test_cut_off_joints_are_refused(shared_data, tmp_path):
    copy_labels(shared_data, tmp_path)
    whole = (tmp_path / "joints.mat").read_bytes()
    for share in (0.001, 0.3, 0.9):
        (tmp_path / "joints.mat").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(SourceError, match="joints.mat is not a MATLAB 5 file|joints.mat cannot be read"):
            hgedge.datasets.open(tmp_path, "val")


def test_an_index_that_is_no_text_is_refused(shared_data, tmp_path):
    copy_labels(shared_data, tmp_path)
    (tmp_path / "index.csv").write_bytes(b"row,image,split\n0,im\xff.jpg,val\n")
    with pytest.raises(SourceError, match="index.csv cannot be read as CSV in UTF-8"):
        hgedge.datasets.open(tmp_path, "val")


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file.json").touch()
    with pytest.raises(SourceError, match="it is a file: give the folder"):
        hgedge.datasets.open(tmp_path / "file.json")
    with pytest.raises(SourceError, match="no such data folder"):
        hgedge.datasets.open(tmp_path / "nowhere")
