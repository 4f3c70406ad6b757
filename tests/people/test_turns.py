from __future__ import annotations

import math

import numpy as np
import pytest

from hgedge.datasets.keypoint_sets import LSP14
from hgedge.errors import ConfigError
from hgedge.geometry import square_box
from hgedge.people import Crop, Follower, open_people
from hgedge.pose import Pose
from hgedge.tracking import Tracker
from tests.people.bodies import (
    FPS,
    FRAME_HW,
    IMAGE,
    INPUT_HW,
    Finder,
    body_at,
    bounds,
    box_around,
    center,
    frame_at,
    pose_of,
    track_of,
)


def test_a_person_who_is_followed_gets_no_second_crop_and_a_neighbour_gets_one() -> None:
    """Shoulder to shoulder: their squares overlap by half, they themselves do not."""
    boxes = [box_around(300, 240), box_around(370, 240)]
    follower = Follower(Finder(boxes), INPUT_HW)
    crops = follower.choose(frame_at(1), IMAGE, [track_of(body_at(300, 240))])
    assert [crop.track_id for crop in crops] == [0]  # not asked: somebody is there, and all is well
    crops = Follower(Finder(boxes), INPUT_HW, detect_every=1).choose(frame_at(1), IMAGE, [track_of(body_at(300, 240))])
    assert sorted(crop.track_id is None for crop in crops) == [False, True]
    (new,) = (crop for crop in crops if crop.track_id is None)
    np.testing.assert_allclose(new.box_xyxy, square_box(boxes[1]), atol=1e-4)


def test_somebody_unsure_is_put_where_they_are_found() -> None:
    far = body_at(340, 250)
    finder = Finder([box_around(340, 250)])
    unsure = track_of(far, square_box(bounds(body_at(310, 240))), scores=0.1)
    (crop,) = Follower(finder, INPUT_HW, detect_every=1).choose(frame_at(1), IMAGE, [unsure])
    np.testing.assert_allclose(crop.box_xyxy, square_box(box_around(340, 250)), atol=1e-4)
    assert crop.track_id == 0


def asked_in(follower: Follower, finder: Finder, tracks) -> list[int]:
    for index in range(60):
        follower.choose(frame_at(index), IMAGE, tracks(index))
    return finder.asked


def test_the_detector_is_asked_every_so_many_frames_and_where_there_is_nobody() -> None:
    finder = Finder()
    nobody = asked_in(Follower(finder, INPUT_HW, detect_every=20), finder, lambda index: ())
    assert nobody == list(range(60))
    finder = Finder()
    somebody = asked_in(
        Follower(finder, INPUT_HW, detect_every=20), finder, lambda index: [track_of(body_at(300, 240))]
    )
    assert somebody == [19, 39, 59]


@pytest.mark.parametrize("unsure", [{"misses": 1}, {"scores": 0.15}])
def test_the_detector_is_asked_once_when_somebody_becomes_unsure(unsure: dict[str, float]) -> None:
    finder = Finder()
    tracks = lambda index: [track_of(body_at(300, 240), **(unsure if 30 <= index < 50 else {}))]  # noqa: E731
    assert asked_in(Follower(finder, INPUT_HW, detect_every=40), finder, tracks) == [30]
    finder = Finder()
    flicker = lambda index: [track_of(body_at(300, 240), **(unsure if index % 2 else {}))]  # noqa: E731
    asked = asked_in(Follower(finder, INPUT_HW, detect_every=40), finder, flicker)
    assert len(asked) > 2 and np.diff(asked).min() >= 8


@pytest.mark.parametrize(("count", "most"), [(1, 1), (3, 2), (7, 3), (8, 8), (20, 8), (5, 1)])
def test_nobody_waits_longer_than_the_bound(count: int, most: int) -> None:
    tracks = [track_of(body_at(30 + 28 * number, 240), number=number) for number in range(count)]
    follower = Follower(Finder(), INPUT_HW, detect_every=7, max_people=most)
    last = dict.fromkeys(range(count), -1)
    for index in range(60):
        crops = follower.choose(frame_at(index), IMAGE, tracks)
        assert len(crops) == min(count, most)
        for crop in crops:
            last[crop.track_id] = index
        assert index - min(last.values()) < math.ceil(count / most)


@pytest.mark.parametrize("detect_every", [1, 30])
def test_new_people_and_known_ones_take_turns(detect_every: int) -> None:
    """Four are known, six more come; two crops a frame: all get theirs in five frames, whoever they are."""
    places = [30 + 60 * number for number in range(10)]
    finder = Finder([box_around(place, 240) for place in places])
    follower = Follower(finder, INPUT_HW, detect_every=detect_every, max_people=2)
    tracks = [track_of(body_at(place, 240), number=number) for number, place in enumerate(places[:4])]
    last: dict[int, int] = {}
    for index in range(100):
        crops = follower.choose(frame_at(index), IMAGE, tracks)
        assert any(crop.track_id is not None for crop in crops)  # else the tracker holds that all were looked for
        for crop in crops:
            if crop.track_id is None:
                number = int(np.argmin(np.abs(np.array(places) - center(crop)[0])))
                assert number >= len(tracks)
                tracks.append(track_of(body_at(places[number], 240), number=len(tracks)))
                places[len(tracks) - 1], places[number] = places[number], places[len(tracks) - 1]
            else:
                waited = index - last.get(crop.track_id, index)
                assert waited <= math.ceil(10 / 2)
                last[crop.track_id] = index
    assert len(tracks) == 10 and len(last) == 10


def test_all_whom_the_detector_finds_get_a_crop_before_it_is_asked_again() -> None:
    boxes = [(20 + 100 * number, 50, 60 + 100 * number, 200, 0.9 - 0.1 * number) for number in range(5)]
    finder = Finder(boxes)
    follower = Follower(finder, INPUT_HW, max_people=2)
    crops = [follower.choose(frame_at(index), IMAGE, ()) for index in range(3)]
    assert finder.asked == [0]
    assert [[round(center(crop)[0]) for crop in each] for each in crops] == [[40, 140], [240, 340], [440]]
    follower.choose(frame_at(3), IMAGE, ())
    assert finder.asked == [0, 3]


def test_a_detector_that_tells_all_people_is_obeyed_in_every_frame() -> None:
    finder = Finder([(20, 20, 60, 100, 0.5), (100, 20, 140, 120, 0.9), (200, 20, 240, 100, 0.7)])
    finder.followed = False
    follower = Follower(finder, INPUT_HW, max_people=2)
    for index in range(3):
        crops = follower.choose(frame_at(index), IMAGE, [track_of(body_at(300, 240))])
        np.testing.assert_allclose(crops[0].box_xyxy, square_box(np.array([100, 20, 140, 120])))
        np.testing.assert_allclose(crops[1].box_xyxy, square_box(np.array([200, 20, 240, 100])))
        assert [crop.track_id for crop in crops] == [None, None]
    assert finder.asked == [0, 1, 2]
    finder.cropped = True
    np.testing.assert_allclose(follower.choose(frame_at(3), IMAGE, ())[0].box_xyxy, [100, 20, 140, 120])


def test_whose_the_whole_frame_is_the_joints_tell() -> None:
    follower = Follower(open_people("whole"), INPUT_HW)
    for tracks in ((), [track_of(body_at(100, 100), number=4)]):
        (crop,) = follower.choose(frame_at(0), IMAGE, tracks)
        np.testing.assert_array_equal(crop.box_xyxy, [-0.5, -0.5, 639.5, 479.5])
        assert crop.track_id is None


def test_two_people_who_walk_past_each_other_are_followed_until_they_leave() -> None:
    """With the tracker, on an engine that knows where they are and sees no joint outside its crop."""
    places = {0: lambda t: (60 + 150 * t, 200), 1: lambda t: (580 - 170 * t, 330)}

    def seen(crop: Crop, t: float) -> Pose:
        bodies = [body_at(*place(t), 0.6) for place in places.values()]
        points = min(bodies, key=lambda body: np.abs(body.mean(axis=0) - center(crop)).sum())
        box = crop.box_xyxy
        inside = ((points > box[:2]) & (points < box[2:]) & (points >= 0) & (points < FRAME_HW[::-1])).all(axis=1)
        return pose_of(points, box, np.where(inside, 0.7, 0.05))

    finder = Finder(lambda frame: [bounds(body_at(*place(frame.timestamp_s), 0.6)) for place in places.values()])
    follower, tracker = Follower(finder, INPUT_HW, detect_every=1000), Tracker(LSP14)
    ids: dict[int, list[int]] = {}
    for index in range(int(6 * FPS)):
        frame = frame_at(index)
        crops = follower.choose(frame, IMAGE, tracker.tracks)
        poses = tracker.update(
            [seen(crop, frame.timestamp_s) for crop in crops], [crop.track_id for crop in crops], frame.timestamp_s
        )
        for pose in poses:
            ids.setdefault(pose.id, []).append(index)
    assert sorted(ids) == [0, 1] and not tracker.tracks
    for number, frames in ids.items():
        assert frames[0] == 0 and len(frames) == frames[-1] + 1
        left_s = ((640 - 60) / 150, 580 / 170)[number]
        assert abs(frames[-1] / FPS - left_s) < 0.5
    assert finder.asked[0] == 0 and finder.asked[1] > 3 * FPS


@pytest.mark.parametrize("wrong", [{"detect_every": 0}, {"max_people": 0}])
def test_counts_below_one_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be at least 1, but got 0"):
        Follower(Finder(), INPUT_HW, **wrong)
