"""Faces with 15 and 68 points in one file."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import hgedge.datasets
from hgedge.datasets.targets import gaussian_heatmaps
from hgedge.errors import ConfigError, SourceError


@pytest.fixture(scope="module")
def archive(shared_data):
    return dict(np.load(shared_data / "faces" / "faces96.npz"))


@pytest.mark.parametrize(("suffix", "count", "eyes"), [("", 68, (36, 45)), ("15", 15, (0, 1))])
def test_splits_share_no_subject_and_miss_no_face(shared_data, archive, suffix, count, eyes):
    train, val = (hgedge.datasets.open(shared_data / "faces", name + suffix) for name in ("train", "val"))
    assert train.name == val.name == f"faces{count}" and train.keypoint_set.name == f"face{count}"
    assert len(train) + len(val) == 1000 and 0.75 < len(train) / 1000 < 0.85
    subjects = [{person.name for person in dataset.people} for dataset in (train, val)]
    assert not subjects[0] & subjects[1] and len(subjects[0] | subjects[1]) == 231
    rows = {archive["image"][row].tobytes() + archive["points68"][row].tobytes(): row for row in range(1000)}
    assert len(rows) >= 990  # pictures tell their rows
    for person in (*train.people[::50], *val.people[::20]):
        same = [row for row in range(1000) if np.array_equal(archive["image"][row], person.pixels)]
        points = archive[f"points{count}"][same[0]]
        np.testing.assert_array_equal(person.keypoints, points)
        assert str(archive["frame"][same[0]]).startswith(person.name + "_")
        assert person.unit_px == pytest.approx(np.hypot(*(points[eyes[0]] - points[eyes[1]])), rel=1e-6)
        assert person.read().shape == (96, 96, 3) and (person.read()[..., 1] == person.pixels).all()
        assert person.box_xyxy.tolist() == [-0.5, -0.5, 95.5, 95.5]


def test_fifteen_points_are_those_of_the_sixty_eight(shared_data):
    """The README's rule, through the two readings: eye centres are means of six points, the rest are points."""
    few, many = (hgedge.datasets.open(shared_data / "faces", split).people for split in ("val15", "val"))
    for one, other in zip(few[:20], many[:20], strict=True):
        points = other.keypoints
        centers = [points[42:48].mean(axis=0), points[36:42].mean(axis=0)]
        rest = points[[42, 45, 39, 36, 22, 26, 21, 17, 30, 54, 48, 51, 57]]
        np.testing.assert_allclose(one.keypoints, np.vstack([centers, rest]), atol=1e-3)


def test_points_outside_their_crop_have_empty_targets(shared_data):
    people = hgedge.datasets.open(shared_data / "faces").people
    keypoints, labelled = (np.stack([getattr(p, name) for p in people]) for name in ("keypoints", "labelled"))
    heatmaps, counts = gaussian_heatmaps(keypoints, labelled, (24, 24))
    outside = ((keypoints < -0.5) | (keypoints > 95.5)).any(axis=-1)
    assert outside.sum() > 100 and labelled.all()
    assert not heatmaps[outside].any() and not counts[outside].any()
    assert counts[~outside].mean() > 0.99 and (heatmaps[counts].max(axis=(-1, -2)) > 0.8).all()


def test_whole_frames(shared_data):
    root = shared_data / "faces"
    dataset = hgedge.datasets.open(root, "frames")
    rows = list(csv.DictReader((root / "frames.csv").read_text().splitlines()))
    assert len(dataset) == len(rows) == 40
    for person, row in zip(dataset.people, rows):
        assert person.image.name == row["image"] and person.read().ndim == 3
        assert person.keypoints[67].tolist() == [float(row["x67"]), float(row["y67"])]


def test_splits_are_named(shared_data, tmp_path):
    assert hgedge.datasets.splits(shared_data / "faces") == ("train", "val", "train15", "val15", "frames")
    with pytest.raises(ConfigError, match="has no split 'test'; it has: train, val, train15, val15, frames"):
        hgedge.datasets.open(shared_data / "faces", "test")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": np.zeros((3, 8, 8), np.uint8), "frame": np.array(["a_1.jpg"] * 3)}, "is not an .npz file with"),
        ({"image": np.zeros((3, 8, 8)), "points68": np.zeros((3, 68, 2)), "frame": np.array(["a"] * 3)}, "uint8"),
        (
            {"image": np.zeros((3, 8, 8), np.uint8), "points68": np.zeros((2, 68, 2)), "frame": np.array(["a"] * 3)},
            "must be 3 x 68 x 2 numbers, but is 2 x 68 x 2",
        ),
        (
            {"image": np.zeros((3, 8, 8), np.uint8), "points68": np.zeros((3, 68, 2)), "frame": np.array(["a"])},
            "'frame' in .* must name 3 pictures",
        ),
    ],
)
def test_other_arrays_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "faces96.npz", **arrays)
    with pytest.raises(SourceError, match=message):
        hgedge.datasets.open(tmp_path)


def test_cut_off_files_are_refused(tmp_path, shared_data):
    for damaged in (b"", b"nothing", (shared_data / "faces" / "faces96.npz").read_bytes()[:100_000]):
        (tmp_path / "faces96.npz").write_bytes(damaged)
        with pytest.raises(SourceError, match="is not an .npz file with image, points68, frame, or is cut off"):
            hgedge.datasets.open(tmp_path)
    (tmp_path / "frames.csv").write_text("image,x0,y0\na.jpg,1,2\n")
    with pytest.raises(SourceError, match="must have image, x0, y0 to y67 in every row"):
        hgedge.datasets.open(tmp_path, "frames")
