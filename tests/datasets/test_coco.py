"""COCO's JSON against pycocotools and the files' own numbers; other data sets in the same format."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import hgedge.datasets
from hgedge.errors import ConfigError, SourceError

OUTLINE = 0.03  # a polygon's area and that of its filled pixels differ by the outline, on people above 100 x 100 px

FIXTURES = [  # folder, keypoint set, people, pictures: as README of the data says
    ("coco", "coco17", 12, 4),
    ("aic", "aic14", 9, 3),
    ("jhmdb", "jhmdb15", 3, 3),
    ("posetrack18", "posetrack17", 14, 3),
    ("300w", "face68", 2, 2),
    ("wflw", "wflw98", 4, 2),
    ("aflw", "aflw19", 2, 2),
    ("cofw", "cofw29", 2, 2),
]


@pytest.fixture(scope="module")
def mini(shared_data):
    return hgedge.datasets.open(shared_data / "coco_mini")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_people_are_those_that_pycocotools_counts(shared_data, mini):
    coco = pytest.importorskip("pycocotools.coco").COCO(shared_data / "coco_mini" / "person_keypoints.json")
    annotations = coco.loadAnns(coco.getAnnIds(iscrowd=False))
    counted = {str(a["id"]): a for a in annotations if a["num_keypoints"]}
    assert len(coco.anns) == 147 and len(mini) == len(counted) == 86
    assert [person.name for person in mini.people] == [name for name in map(str, coco.anns) if name in counted]
    for person in mini.people:
        annotation = counted[person.name]
        assert person.labelled.sum() == annotation["num_keypoints"]
        assert person.image.name == coco.loadImgs(annotation["image_id"])[0]["file_name"] and person.image.is_file()
        triples = np.reshape(annotation["keypoints"], (17, 3))
        np.testing.assert_array_equal(person.keypoints[person.labelled], triples[triples[:, 2] > 0, :2])
        if person.area > 100 * 100:
            assert person.area == pytest.approx(coco.annToMask(annotation).sum(), rel=OUTLINE)
        x, y, width, height = annotation["bbox"]
        side = 1.25 * max(width, height)
        center = np.array([x + width / 2, y + height / 2])
        np.testing.assert_allclose(person.box_xyxy, [*(center - side / 2), *(center + side / 2)])


def test_default_split_is_all_of_a_single_file(mini, shared_data):
    assert (mini.name, mini.split, hgedge.datasets.splits(shared_data / "coco_mini")) == ("coco", "all", ("all",))
    with pytest.raises(ConfigError, match="has no split 'val'; it has: all"):
        hgedge.datasets.open(shared_data / "coco_mini", "val")


@pytest.mark.parametrize(("folder", "keypoints", "people", "pictures"), FIXTURES)
def test_others_in_this_format(shared_data, folder, keypoints, people, pictures):
    dataset = hgedge.datasets.open(shared_data / "fixtures" / folder, "all")
    assert dataset.keypoint_set.name == keypoints
    assert (len(dataset), len({person.image for person in dataset.people})) == (people, pictures)
    inside = total = 0
    for person in dataset.people:
        height, width = person.read().shape[:2]
        points, box = person.keypoints[person.labelled], person.box_xyxy
        within = (points >= [0, 0]) & (points <= [width, height]) & (points >= box[:2]) & (points <= box[2:])
        inside, total = inside + within.all(axis=1).sum(), total + len(points)
        assert box[2] - box[0] == pytest.approx(box[3] - box[1])
    assert inside / total > 0.97


def test_faces_are_measured_by_their_eyes_and_others_as_their_files_say(shared_data):
    def first(folder):
        person = hgedge.datasets.open(shared_data / "fixtures" / folder).people[0]
        return person, person.keypoints, person.unit_px

    for folder, (right, left) in (("300w", (36, 45)), ("wflw", (60, 72)), ("cofw", (8, 9))):
        _, points, unit = first(folder)
        assert unit == pytest.approx(np.hypot(*(points[left] - points[right])))
        assert points[right, 0] < points[left, 0]  # the person's right is on the picture's left
    assert first("aflw")[2] == 362.0  # its box_size
    assert first("posetrack18")[2] == pytest.approx(0.6 * np.hypot(44, 53))  # its bbox_head
    person, _, unit = first("coco")
    assert unit is None and person.area == pytest.approx(27789.11055)
    person = first("wflw")[0]  # centre and scale of its own
    assert person.box_xyxy.tolist() == pytest.approx([482.5 - 53.125, 164.5 - 53.125, 482.5 + 53.125, 164.5 + 53.125])


def document(count=17, **category):
    categories = [{"id": 1, "name": "thing", **category}]
    keypoints = [value for i in range(count) for value in (10.0 + i, 20.0, 2)]
    annotation = {"id": 5, "image_id": 1, "category_id": 1, "keypoints": keypoints, "bbox": [5, 5, 40, 20]}
    return {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [annotation], "categories": categories}


def written(folder, content, name="labels.json"):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def test_names_and_limbs_of_the_files_own(tmp_path):
    names = ["Left Paw", "right-paw", "Tail", "eye_l", "eye_r"]
    root = written(tmp_path, document(5, keypoints=names, skeleton=[[1, 3], [2, 3]]))
    keypoints = hgedge.datasets.open(root).keypoint_set
    assert keypoints.name == "thing5" and keypoints.names == ("left_paw", "right_paw", "tail", "eye_l", "eye_r")
    assert keypoints.skeleton == ((0, 2), (1, 2)) and keypoints.flip_indices == (1, 0, 2, 4, 3)


def test_without_names_keypoints_are_numbered_and_it_is_said(tmp_path, caplog):
    keypoints = hgedge.datasets.open(written(tmp_path, document(7))).keypoint_set
    assert keypoints.name == "points7" and keypoints.names[6] == "6" and keypoints.flip_indices == tuple(range(7))
    assert "does not name its 7 keypoints: they are numbered, and mirroring exchanges none" in caplog.text


def test_splits_come_from_the_names_of_files(tmp_path):
    (tmp_path / "annotations").mkdir()
    for name in ("person_keypoints_train2017.json", "person_keypoints_val2017.json"):
        written(tmp_path / "annotations", document(), name)
    written(tmp_path / "annotations", {"images": [], "annotations": []}, "captions_val2017.json")
    written(tmp_path, [1, 2], "detections.json")
    (tmp_path / "val2017").mkdir()
    (tmp_path / "val2017" / "a.jpg").touch()
    assert hgedge.datasets.splits(tmp_path) == ("train", "val")
    dataset = hgedge.datasets.open(tmp_path)
    assert dataset.split == "val" and dataset.people[0].image == tmp_path / "val2017" / "a.jpg"
    shutil.rmtree(tmp_path / "val2017")
    with pytest.raises(SourceError, match=r"a.jpg cannot be read: No such file"):
        hgedge.datasets.open(tmp_path, "val").people[0].read()


def test_crowds_and_people_without_labels_are_left_out(tmp_path):
    content = document(17)
    (person,) = content["annotations"]
    unlabelled = [value for i in range(17) for value in (30, 30, 0)]
    content["annotations"] += [
        person | {"id": 6, "iscrowd": 1},
        person | {"id": 7, "keypoints": unlabelled},
        {"id": 8, "image_id": 1, "bbox": [1, 2, 3, 4]},
        person | {"id": 9, "keypoints": [30, 40, 1, *unlabelled[3:]]},
    ]
    people = hgedge.datasets.open(written(tmp_path, content)).people
    assert [(p.name, p.labelled.sum()) for p in people] == [("5", 17), ("9", 1)]
    assert people[0].area is None


def changed(**values):
    content = document()
    content["annotations"][0] |= values
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(document())[:-20], "labels.json is cut off or damaged: expected JSON"),
        (document() | {"annotations": {"keypoints": 1}}, "must be lists"),
        (changed(keypoints=[1, 2, 2] * 16 + [1]), r"annotation 5 .* must be 16 triples .* but are 49 numbers"),
        (changed(keypoints=["a", 2, 2] * 17), "keypoints of .* must be N numbers, but cannot be read as such"),
        (changed(image_id=99), "annotation 5 of .* is of the image 99, which the file does not list"),
        (changed(bbox=[1, 2, 3]), "bbox of annotation 5 .* must be 4 numbers, but is 3"),
        (changed(bbox=[1, 2, 3, None]), "bbox of annotation 5 .* must be 4 numbers, but cannot be read"),
        (changed(bbox=[1, 2, 3, float("inf")]), "bbox of annotation 5 .* must be finite"),
        (changed(center=[1, 2], scale=0), "needs a centre and a scale above 0"),
        (changed(area="big"), "area of annotation 5 .* must be .*numbers"),
        (changed(image_id=[1, {}]), "which the file does not list"),
        (changed(keypoints=5), "must be N numbers, but is one"),
        (document() | {"images": [{"id": 1}]}, "image of .* lacks file_name"),
        (document() | {"annotations": [5, "keypoints"]}, "has no annotation with keypoints"),
        (changed(keypoints=[1, 2, 0] * 17), "split 'all' of .* has nobody with a labelled joint"),
        (document(2, keypoints=["a", "b"], skeleton=[[1, 7]]), "category 'thing' of .* cannot be used"),
        (document(2, keypoints=["a", "a"], skeleton=[[1]]), "category 'thing' of .* cannot be used"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    with pytest.raises(SourceError, match=message):
        hgedge.datasets.open(written(tmp_path, content))


def test_two_people_with_different_keypoints_are_refused(tmp_path):
    content = document(17)
    content["annotations"].append(content["annotations"][0] | {"id": 6, "keypoints": [1, 2, 2] * 14})
    with pytest.raises(
        SourceError, match=r"annotation 6 .* must be 17 triples .* but are 42 numbers; people with other"
    ):
        hgedge.datasets.open(written(tmp_path, content))
