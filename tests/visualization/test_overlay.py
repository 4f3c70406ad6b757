from __future__ import annotations

import itertools

import numpy as np
import pytest

from hgedge.pose import Pose
from hgedge.visualization.overlay import draw_ids, draw_status, track_color

GREY = np.full((360, 480, 3), 128, np.uint8)
APART = 25.0  # of 255, between the colours of any two of twelve people


def person(track_id: int, x: float, y: float, scores: tuple[float, float] = (1, 1)) -> Pose:
    box = np.float32([x - 20, y - 20, x + 20, y + 80])
    return Pose(np.float32([[x, y], [x, y + 60]]), np.float32(scores), box, 1.0, track_id)


def changed(image: np.ndarray) -> np.ndarray:
    return np.argwhere((image != GREY).any(axis=2))


def test_a_label_stands_above_the_uppermost_joint_in_the_tracks_colour() -> None:
    image = GREY.copy()
    draw_ids(image, [person(7, 200, 150)])
    rows, columns = changed(image).T
    assert 150 - 45 < rows.min() and rows.max() < 150
    assert abs((columns.min() + columns.max()) / 2 - 200) <= 1 and np.ptp(columns) < 30
    np.testing.assert_array_equal(image[rows.min(), columns.min()], track_color(7))


def test_labels_stay_in_the_picture() -> None:
    for x, y in ((0, 0), (479, 0), (-300, 359), (240, -50)):
        image = GREY.copy()
        draw_ids(image, [person(123, x, y)])
        expected = GREY.copy()
        draw_ids(expected, [person(123, 240, 180)])
        assert len(changed(image)) == len(changed(expected))


@pytest.mark.parametrize("scores", [(0.1, 0.29), (np.nan, np.nan)])
def test_who_is_not_seen_has_no_label(scores: tuple[float, float]) -> None:
    image = GREY.copy()
    draw_ids(image, [person(1, 200, 150, scores)])
    np.testing.assert_array_equal(image, GREY)


def test_the_uppermost_joint_is_of_those_that_are_seen() -> None:
    image, hidden = GREY.copy(), person(1, 200, 150, (0.1, 1.0))
    draw_ids(image, [hidden])
    assert changed(image)[:, 0].min() > 150


def test_people_at_once_have_colours_of_their_own() -> None:
    for first in (0, 100):
        colors = np.array([track_color(track_id) for track_id in range(first, first + 12)], float)
        assert min(np.abs(one - other).max() for one, other in itertools.combinations(colors, 2)) > APART


def test_status_lies_in_the_corner_and_tells_of_a_source_that_is_gone() -> None:
    lively, gone = GREY.copy(), GREY.copy()
    draw_status(lively, {"infer": 5.25, "total": 7.0}, 12.0, 3, "live")
    draw_status(gone, {"infer": 5.25, "total": 7.0}, 12.0, 3, "retrying")
    assert (lively[0, 0] < 70).all() and lively.max() > 200  # light on dark
    rows, columns = changed(lively).max(axis=0)
    assert rows < 60 and columns < 300
    assert changed(gone)[:, 0].max() > rows  # a line more


def test_status_fits_into_any_picture() -> None:
    for shape in ((1, 1, 3), (8, 200, 3), (200, 8, 3)):
        draw_status(np.zeros(shape, np.uint8), {}, float("nan"), 0, "stalled")
