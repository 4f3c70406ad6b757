from __future__ import annotations

import math

import numpy as np
import pytest

from hgedge.geometry import square_box
from hgedge.people import Crop, Follower
from tests.people.bodies import FPS, IMAGE, INPUT_HW, PLAY, Finder, body_at, bounds, center, frame_at, side, track_of


def test_people_who_are_found_get_the_data_sets_square() -> None:
    found = [(700, 0, 800, 90, 0.95), (100, 50, 160, 210, 0.4), (300, 60, 360, 200, 0.9)]
    crops = Follower(Finder(found), INPUT_HW).choose(frame_at(0), IMAGE, ())
    assert [crop.track_id for crop in crops] == [None, None]
    np.testing.assert_allclose(crops[0].box_xyxy, [330 - 87.5, 130 - 87.5, 330 + 87.5, 130 + 87.5])
    np.testing.assert_allclose(crops[1].box_xyxy, square_box(np.array(found[1][:4])))


def test_the_crop_of_somebody_is_the_square_around_their_sure_joints() -> None:
    points, scores = body_at(300, 240), np.full(14, 0.6)
    points[6], scores[6] = (10, 10), 0.1  # a wrist lost in the background
    points[7], scores[7] = (np.nan, 5), 0.9
    sure = np.delete(points, [6, 7], axis=0)
    (crop,) = Follower(Finder(), INPUT_HW).choose(
        frame_at(1), IMAGE, [track_of(points, square_box(bounds(sure)), scores=scores)]
    )
    np.testing.assert_allclose(crop.box_xyxy, square_box(bounds(sure)), atol=1e-4)
    assert crop.track_id == 0


@pytest.mark.parametrize(("scores", "sure"), [((0.9, 0.4), False), ((0.5, 0.3), True), ((0.3, 0.16), False)])
def test_joints_are_sure_by_half_of_the_best_and_never_below_a_fifth(scores: tuple[float, float], sure: bool) -> None:
    points = body_at(300, 240)
    values = np.full(14, scores[0])
    points[13], values[13] = (300, 100), scores[1]  # higher than the head
    (crop,) = Follower(Finder(), INPUT_HW).choose(frame_at(1), IMAGE, [track_of(points, scores=values)])
    counted = points if sure else points[:13]
    new = square_box(bounds(counted))
    assert np.abs(center(crop) - (new[:2] + new[2:]) / 2).max() <= PLAY * (new[2] - new[0]) + 1e-3


def test_the_crop_moves_on_with_the_person() -> None:
    points = body_at(300, 240)
    track = track_of(points, drift=(90, -30))
    (still,) = Follower(Finder(), INPUT_HW).choose(frame_at(0), IMAGE, [track])
    (crop,) = Follower(Finder(), INPUT_HW).choose(frame_at(4), IMAGE, [track])
    np.testing.assert_allclose(center(crop) - center(still), [90 * 4 / FPS, -30 * 4 / FPS], atol=1e-6)
    late = [Follower(Finder(), INPUT_HW).choose(frame_at(index), IMAGE, [track])[0] for index in (15, 900)]
    np.testing.assert_array_equal(late[0].box_xyxy, late[1].box_xyxy)  # no farther than half a second


def followed(poses, follower: Follower, crop: np.ndarray | None = None) -> list[Crop]:
    """The crops of one person, whose joints in frame i are `poses(i, crop)`."""
    crops, track = [], None
    for index in range(200):
        if index:
            (chosen,) = follower.choose(frame_at(index), IMAGE, [track])
            crops.append(chosen)
            crop = chosen.box_xyxy
        points, scores = poses(index, crop)
        track = track_of(points, crop, index=index, scores=scores)
    return crops


def test_the_crop_of_a_still_person_is_still_while_their_joints_tremble() -> None:
    trembling = body_at(300, 240) + np.random.default_rng(5).normal(0, 0.7, (200, 14, 2))
    crops = followed(lambda index, crop: (trembling[index], 0.7), Follower(Finder(), INPUT_HW))
    boxes = np.array([crop.box_xyxy for crop in crops[100:]])
    own = np.array([square_box(bounds(points)) for points in trembling[100:]])
    assert np.ptp(boxes, axis=0).max() < 0.05 * np.ptp(own, axis=0).min()
    exact = square_box(bounds(body_at(300, 240)))
    np.testing.assert_allclose(boxes[-1], exact, atol=3 * PLAY * (exact[2] - exact[0]))


def test_all_joints_keep_their_margin_while_somebody_walks_and_stretches() -> None:
    """Speed 200 px/s, arms that go up and down once a second."""

    def poses(index: int, crop: np.ndarray | None) -> tuple[np.ndarray, float]:
        points = body_at(200 + 200 * math.sin(index / FPS), 240)
        points[[6, 11], 1] -= 110 * (1 - math.cos(2 * math.pi * index / FPS)) / 2
        return points, 0.7

    crops = followed(poses, Follower(Finder(), INPUT_HW))
    for index, crop in enumerate(crops[30:], 31):
        box = bounds(poses(index, None)[0])
        margin = np.concatenate([box[:2] - crop.box_xyxy[:2], crop.box_xyxy[2:] - box[2:]])
        assert margin.min() > 0.03 * side(crop), index


def test_the_size_follows_slowly_down_and_fast_up() -> None:
    small, large = body_at(300, 240, 0.5), body_at(300, 240)
    down = followed(lambda index, crop: (large if index < 2 else small, 0.7), Follower(Finder(), INPUT_HW))
    sides = np.array([side(crop) for crop in down])
    assert (sides[3:] >= sides[2:-1] * math.exp(-1 / FPS) * 0.999).all()
    goal = 1.25 * 180 * 0.5
    assert goal <= sides[-1] <= (1 + 2 * PLAY) * goal + 1e-3
    up = followed(lambda index, crop: (small if index < 2 else large, 0.7), Follower(Finder(), INPUT_HW))
    assert side(up[-1]) == pytest.approx(1.25 * 180, rel=1e-4)
    assert next(index for index, crop in enumerate(up) if side(crop) > 0.99 * 225) < 10


def test_a_crop_does_not_close_in_on_half_a_person() -> None:
    """Joints that lie outside the crop or in the lower half are not sure."""
    whole = square_box(bounds(body_at(300, 240)))

    def poses(index: int, crop: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        points = body_at(300, 240)
        return points, np.where(points[:, 1] < 240, 0.6, 0.1)

    crops = followed(poses, Follower(Finder(), INPUT_HW), whole)
    np.testing.assert_allclose(crops[-1].box_xyxy, whole, atol=1e-3)


def test_with_few_sure_joints_the_last_box_stays() -> None:
    points, scores = body_at(300, 240), np.full(14, 0.15)
    scores[:3] = 0.8
    box = np.array([200.0, 130, 420, 350])
    (crop,) = Follower(Finder(), INPUT_HW).choose(
        frame_at(3), IMAGE, [track_of(points, box, scores=scores, drift=(99, 99))]
    )
    np.testing.assert_allclose(crop.box_xyxy, box)
    broken = track_of(np.full((14, 2), np.nan, np.float32), box, scores=np.nan)
    np.testing.assert_allclose(Follower(Finder(), INPUT_HW).choose(frame_at(3), IMAGE, [broken])[0].box_xyxy, box)


@pytest.mark.parametrize(("place", "at"), [((700, 240), (639, 235)), ((-80, -300), (0, 0)), ((300, 900), (300, 479))])
def test_whoever_left_is_looked_for_at_the_border(place: tuple[int, int], at: tuple[int, int]) -> None:
    (crop,) = Follower(Finder(), INPUT_HW).choose(frame_at(1), IMAGE, [track_of(body_at(*place))])
    np.testing.assert_allclose(center(crop), at, atol=1e-3)
