from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from hgedge.errors import BackendUnavailable
from hgedge.people import open_people
from hgedge.people.overlap import overlaps
from hgedge.pose import Frame

ON_PERSON = 0.4  # intersection over union


def frame_of(image: np.ndarray) -> Frame:
    return Frame(image, 0, 0.0, 0.0, 0.0)


def found_in(image: np.ndarray) -> np.ndarray:
    return open_people("hog").detect(frame_of(image), image)


@pytest.fixture(scope="module")
def street(shared_data: Path) -> np.ndarray:
    ok, image = cv2.VideoCapture(str(shared_data / "videos" / "street_walk_5f.mp4")).read()
    assert ok
    return image


def test_people_who_walk_upright_are_found(street: np.ndarray) -> None:
    """Three who walk in the middle of the street, boxes drawn by hand."""
    walking = np.array([[455, 160, 503, 292], [503, 158, 567, 334], [596, 168, 664, 344]])
    found = found_in(street)
    assert found.dtype == np.float32 and found.shape[1] == 5
    assert (overlaps(walking, found).max(axis=1) > ON_PERSON).all()
    assert (np.diff(found[:, 4]) <= 0).all() and found[-1, 4] >= 0.5
    assert np.triu(overlaps(found, found), 1).max() <= ON_PERSON


@pytest.mark.parametrize("name", ["000000433998", "000000442450", "000000538113", "000000489520"])
def test_somebody_who_stands_is_found_in_a_photograph(shared_data: Path, name: str) -> None:
    labels = json.loads((shared_data / "coco_mini" / "person_keypoints.json").read_text())
    boxes = np.array([each["bbox"] for each in labels["annotations"] if each["image_id"] == int(name)])
    people = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    found = found_in(cv2.imread(str(shared_data / "coco_mini" / "images" / f"{name}.jpg")))
    assert len(found) == 1 and overlaps(people, found).max() > ON_PERSON


def test_boxes_scale_with_the_picture(street: np.ndarray) -> None:
    """Both are searched at the same size; a pixel of the small one covers two of the large one, edge to edge."""
    large = cv2.resize(street, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    small, doubled = found_in(street), found_in(large)
    np.testing.assert_allclose(doubled[:, :4], 2 * small[:, :4] + 0.5, rtol=0, atol=1e-3)
    np.testing.assert_allclose(doubled[:, 4], small[:, 4], rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(480, 640), (20, 640), (640, 20), (1, 1), (8, 4000)])
def test_nobody_is_in_a_grey_picture_of_any_shape(shape: tuple[int, int]) -> None:
    assert found_in(np.full((*shape, 3), 128, np.uint8)).shape == (0, 5)


def test_an_opencv_without_the_detector_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV 5.0 has no such name."""
    monkeypatch.delattr(cv2, "HOGDescriptor")
    with pytest.raises(BackendUnavailable, match=r"needs OpenCV 4, but this one .* 'opencv-python<5'.*onnx:PATH"):
        open_people("hog")
