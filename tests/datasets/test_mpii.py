"""MPII in its three layouts: against each other, against published scores, and in pictures."""

from __future__ import annotations

import gzip
import json

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

import hgedge.datasets
from hgedge.datasets.center_scale import adjusted
from hgedge.errors import ConfigError, SourceError

CENTER_PX = 0.01  # valid.h5 keeps scales to six digits, of which 15 go into the centre
ROUNDED = 5e-5  # expected_pckh.json has four decimals


@pytest.fixture(scope="module")
def records(shared_data):
    return json.loads(gzip.decompress((shared_data / "mpii_val" / "mpii_annotations.json.gz").read_bytes()))


@pytest.fixture(scope="module")
def people_of_list(records, shared_data, tmp_path_factory):
    """The list's validation people, and every eighth for training, which saves seconds; without pictures."""
    whole, part = (tmp_path_factory.mktemp(name) for name in ("whole", "part"))
    (whole / "mpii_annotations.json.gz").symlink_to(shared_data / "mpii_val" / "mpii_annotations.json.gz")
    (part / "mpii_annotations.json").write_text(json.dumps(records[::8]))
    return {"val": hgedge.datasets.open(whole, "val"), "train": hgedge.datasets.open(part, "train")}


@pytest.fixture(scope="module")
def val(shared_data):
    return hgedge.datasets.open(shared_data / "mpii_val")


def test_list_of_people(people_of_list, records):
    assert len(records) == 25204 and len(people_of_list["val"]) == 2958
    for split, flag, step in (("train", 0, 8), ("val", 1, 1)):
        dataset = people_of_list[split]
        chosen = [record for record in records[::step] if record["isValidation"] == flag]
        assert (dataset.name, len(dataset), dataset.origin_px) == ("mpii", len(chosen), 0)
        joints = np.array([record["joint_self"] for record in chosen])
        labelled = np.array([person.labelled for person in dataset.people])
        np.testing.assert_array_equal(labelled, (joints[..., :2] != 0).any(axis=-1))
        keypoints = np.array([person.keypoints for person in dataset.people])
        np.testing.assert_allclose(keypoints[labelled] + 1, joints[..., :2][labelled], atol=1e-9)
        boxes = np.array([person.box_xyxy for person in dataset.people])
        scale = np.array([record["scale_provided"] for record in chosen])
        np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], 250 * scale)  # 200 px x 1.25
        assert dataset.people[0].unit_px is None
        hidden = labelled & (joints[..., 2] == 0)
        assert hidden.any()  # hidden joints have labels; only (0, 0) has none


def test_crops_of_the_list_are_those_of_the_hourglass_authors(people_of_list, val):
    """The centre moved by 15 x scale and the scale x 1.25 give what valid.h5 has, one pixel apart in origin."""
    ours = np.array([person.box_xyxy for person in people_of_list["val"].people])
    theirs = np.array([person.box_xyxy for person in val.people])
    np.testing.assert_allclose((ours[:, :2] + ours[:, 2:]) / 2 + 1, (theirs[:, :2] + theirs[:, 2:]) / 2, atol=CENTER_PX)
    np.testing.assert_allclose(ours[:, 2] - ours[:, 0], theirs[:, 2] - theirs[:, 0], atol=200 * 1e-3)


def test_adjusting_takes_the_scale_as_provided():
    center, scale = adjusted(np.array([100.0, 200.0]), 2.0)
    assert center.tolist() == [100, 230] and scale == 2.5


@pytest.mark.parametrize(
    ("file", "key"),
    [("valid-example.h5", "valid-example.h5"), ("pos_pred_src", "tompson2015 (pred_tompson2015)")],
)
def test_published_predictions_score_what_they_must(shared_data, val, file, key):
    root = shared_data / "mpii_val"
    if file.endswith(".h5"):
        with h5py.File(root / file) as opened:
            predicted = opened["preds"][()]
    else:
        predicted = loadmat(root / "detections_our_format.mat")[file].transpose(2, 0, 1)
    keypoints = np.array([person.keypoints for person in val.people])
    labelled = np.array([person.labelled for person in val.people])
    unit = np.array([person.unit_px for person in val.people])
    error = np.linalg.norm(predicted - keypoints, axis=-1) / unit[:, None]
    for expected in json.loads((root / "expected_pckh.json").read_text())[key]["pckh"]:
        right = ((error < expected["threshold"]) & labelled).sum(axis=0)
        percent = 100 * right / labelled.sum(axis=0)
        np.testing.assert_allclose(percent, list(expected["per_joint"].values()), atol=ROUNDED)
    assert labelled.sum() == 44240


def test_joints_lie_on_the_people_of_the_five_pictures(val):
    seen = [person for person in val.people if person.image.is_file()]
    assert [person.name for person in seen] == [f"row {row}" for row in range(5)]
    for person in seen:
        height, width = person.read().shape[:2]
        points, box = person.keypoints[person.labelled], person.box_xyxy
        assert (points >= val.origin_px).all() and (points <= [width, height]).all()
        assert (points >= box[:2]).all() and (points <= box[2:]).all()
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        val.people[5].read()


def test_lists_of_hrnet(shared_data, val):
    """Five people with pictures, in a third file: the truth of the .mat and the crops of valid.h5, counted from 0."""
    dataset = hgedge.datasets.open(shared_data / "mpii_val" / "images")
    assert (dataset.name, dataset.split, len(dataset)) == ("mpii", "all", 5)
    by_picture = {person.image: person for person in val.people[:5]}
    for person in dataset.people:
        same = by_picture[person.image]
        np.testing.assert_array_equal(person.labelled, same.labelled)
        np.testing.assert_allclose(person.keypoints[person.labelled] + 1, same.keypoints[same.labelled], atol=1e-3)
        np.testing.assert_allclose(person.box_xyxy + 1, same.box_xyxy, atol=0.1)  # of 440 to 1180 px
        assert person.read().ndim == 3


def test_lists_of_hrnet_by_split(shared_data, tmp_path):
    (tmp_path / "annot").mkdir()
    text = (shared_data / "mpii_val" / "images" / "annotations.json").read_text()
    for name in ("train", "valid"):
        (tmp_path / "annot" / f"{name}.json").write_text(text)
    assert hgedge.datasets.splits(tmp_path) == ("train", "val")
    assert hgedge.datasets.open(tmp_path).people[0].image.parent == tmp_path / "images"
    (tmp_path / "annot" / "train.json").write_text(text[: len(text) // 2])
    with pytest.raises(SourceError, match="train.json is cut off or damaged"):
        hgedge.datasets.open(tmp_path, "train")
    (tmp_path / "annot" / "train.json").write_text(text.replace("joints_vis", "joints_seen", 1))
    with pytest.raises(SourceError, match="person 0 of .* lacks joints_vis"):
        hgedge.datasets.open(tmp_path, "train")


def test_only_its_own_split(shared_data, tmp_path):
    with pytest.raises(ConfigError, match=r"has no split 'train'; it has: val"):
        hgedge.datasets.open(shared_data / "mpii_val", "train")
    for name in ("detections_our_format.mat", "valid.h5"):
        (tmp_path / name).write_bytes((shared_data / "mpii_val" / name).read_bytes())
    whole = (tmp_path / "valid.h5").read_bytes()
    (tmp_path / "valid.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"valid.h5 is not an HDF5 file, or is cut off"):
        hgedge.datasets.open(tmp_path)
    with h5py.File(tmp_path / "valid.h5", "w") as file:
        file["imgname"] = np.array([b"a.jpg"])
        file["center"], file["scale"] = np.zeros((1, 2)), np.ones(1)
    with pytest.raises(SourceError, match=r"'center' in .* must be 2958 x 2 numbers, but is 1 x 2"):
        hgedge.datasets.open(tmp_path)


RECORD = {
    "isValidation": 1.0,
    "img_paths": "a.jpg",
    "objpos": [50.0, 60.0],
    "scale_provided": 1.0,
    "joint_self": [[10.0, 20.0, 1.0]] * 16,
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", "is cut off or damaged: expected JSON"),
        ("", "is cut off or damaged"),
        ('{"a": 1}', "must hold a list of people, but holds a dict"),
        ("[7]", "person 0 of .* must be an object with isValidation"),
        (json.dumps([{k: v for k, v in RECORD.items() if k != "objpos"}]), "person 0 of .* lacks objpos"),
        (json.dumps([RECORD | {"joint_self": [[1, 2, 3]] * 15}]), "must be 16 x 3 numbers, but is 15 x 3"),
        (json.dumps([RECORD | {"joint_self": [[1, "two", 3]] * 16}]), "must be 16 x 3 numbers, but cannot be read"),
        (json.dumps([RECORD | {"joint_self": [[1, 2, 3]] * 15 + [[1]]}]), "must be 16 x 3 numbers, but cannot be"),
        (json.dumps([RECORD | {"scale_provided": -1.0}]), "needs a centre and a scale above 0"),
        (json.dumps([RECORD | {"objpos": [float("nan"), 1.0]}]), "needs a centre and a scale above 0"),
        (json.dumps([RECORD | {"joint_self": [[0, 0, 0]] * 16}]), "split 'val' of .* has nobody with a labelled joint"),
    ],
)
def test_damaged_lists_are_refused(tmp_path, content, message):
    (tmp_path / "mpii_annotations.json").write_text(content)
    with pytest.raises(SourceError, match=message):
        hgedge.datasets.open(tmp_path, "val")


def test_damaged_gzip_is_refused(tmp_path):
    data = gzip.compress(json.dumps([RECORD] * 50).encode())
    for damaged in (data[: len(data) // 2], b"no gzip"):
        (tmp_path / "mpii_annotations.json.gz").write_bytes(damaged)
        with pytest.raises(SourceError, match="cut off or damaged|cannot be read"):
            hgedge.datasets.open(tmp_path, "val")


def rect(points, **others):
    """A person as MATLAB holds one; the release has structures with empty fields where something is unknown."""
    empty = np.empty((0, 0))
    joints = [{"id": float(i), "x": x, "y": y, "is_visible": "1"} for i, x, y in points]
    return {
        **{"x1": 40.0, "y1": 10.0, "x2": 70.0, "y2": 50.0, "scale": 2.0, "objpos": {"x": 60.0, "y": 80.0}},
        "annopoints": {"point": joints} if joints else empty,
    } | others


def release(path, pictures, in_training):
    annolist = np.array(
        [({"name": name}, np.array(rects, dtype=object) if rects else np.empty((0, 0))) for name, rects in pictures],
        dtype=[("image", object), ("annorect", object)],
    )
    savemat(path, {"RELEASE": {"annolist": annolist, "img_train": np.array(in_training, float)}})


def test_release_in_matlab(tmp_path):
    path = tmp_path / "mpii_human_pose_v1_u12_1.mat"
    people = [rect([(0, 11.0, 21.0), (15, 31.5, 41.5)]), rect([]), rect([(9, 5.0, 6.0)], scale=np.empty((0, 0)))]
    release(
        path,
        [("a.jpg", people), ("b.jpg", []), ("test.jpg", [rect([(1, 2.0, 3.0)])]), ("c.jpg", [rect([(2, 1.0, 1.0)])])],
        [1, 1, 0, 1],
    )
    dataset = hgedge.datasets.open(tmp_path, "train")
    assert [(person.image.name, person.name) for person in dataset.people] == [("a.jpg", "a#0"), ("c.jpg", "c#0")]
    first = dataset.people[0]
    assert first.labelled.nonzero()[0].tolist() == [0, 15]
    assert first.keypoints[[0, 15]].tolist() == [[10, 20], [30.5, 40.5]]  # counted from 0
    assert first.unit_px == pytest.approx(0.6 * 50)  # of a head box of 30 x 40
    assert first.box_xyxy.tolist() == [59 - 250, 79 + 30 - 250, 59 + 250, 79 + 30 + 250]
    with pytest.raises(ConfigError, match="has none of the splits val, test and all; it has: train"):
        hgedge.datasets.open(tmp_path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"MATLAB"), "is not a MATLAB 5 file with RELEASE"),
        (lambda path: savemat(path, {"other": 1.0}), "is a MATLAB 5 file without 'RELEASE'"),
        (lambda path: savemat(path, {"RELEASE": 1.0}), "is not built as MPII's release is"),
        (lambda path: release(path, [("a.jpg", [])], [1, 1]), "has 1 pictures, but img_train has 2 entries"),
        (lambda path: release(path, [("a", [rect([(16, 1.0, 1.0)])]), ("b", [])], [1, 1]), "has a joint of id 16"),
        (lambda path: release(path, [("a", [rect([(0, 1.0, 1.0)], scale=0.0)]), ("b", [])], [1, 1]), "scale above 0"),
    ],
)
def test_damaged_releases_are_refused(tmp_path, write, message):
    write(tmp_path / "mpii_human_pose_v1_u12_1.mat")
    with pytest.raises(SourceError, match=message):
        hgedge.datasets.open(tmp_path, "train")


def test_cut_off_release_is_refused(tmp_path):
    path = tmp_path / "mpii_human_pose_v1_u12_1.mat"
    release(path, [("a.jpg", [rect([(0, 1.0, 1.0)])])] * 20, [1] * 20)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.95):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(SourceError):
            hgedge.datasets.open(tmp_path, "train")
