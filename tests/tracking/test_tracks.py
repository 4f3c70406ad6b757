"""Ids: births, deaths, slid crops, merges, odd input."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgedge.datasets.keypoint_sets import LSP14
from hgedge.errors import ShapeError
from hgedge.tracking import Tracker
from hgedge.tracking.tracks import CONFIRM_HITS, LOST_S, NEVER_WAS_S
from tests.tracking.world import FPS, STANDING, Walker, pose_at, straight

SIZE_PX = 200.0


def somebody(x, y=300.0, scores=0.6):
    """A pose of somebody who stands there."""
    return pose_at(np.array([x, y]) + SIZE_PX * STANDING, scores)


class Film:
    """A tracker that is given frame after frame."""

    def __init__(self, smooth=True):
        self.tracker, self.frame = Tracker(LSP14, smooth), 0

    def show(self, *poses, hints=None, frames=1):
        for _ in range(frames):
            self.frame += 1
            shown = self.tracker.update(list(poses), hints or [None] * len(poses), self.frame / FPS)
        return [pose.id for pose in shown]

    @property
    def ids(self):
        return [track.id for track in self.tracker.tracks]


def test_a_first_detection_is_shown_at_once_and_confirmed_later():
    film = Film()
    assert film.show(somebody(100), somebody(500)) == [0, 1]
    assert not any(track.confirmed for track in film.tracker.tracks)
    film.show(somebody(100), somebody(500), hints=[0, 1], frames=CONFIRM_HITS - 1)
    assert all(track.confirmed and track.hits == CONFIRM_HITS for track in film.tracker.tracks)


def test_ids_stay_whatever_the_order_of_poses():
    film = Film()
    film.show(somebody(100), somebody(500), frames=5)
    shown = film.tracker.update([somebody(500), somebody(100)], [None, None], 1.0)
    assert [(pose.id, round(float(pose.keypoints[12, 0]))) for pose in shown] == [(0, 100), (1, 500)]


def test_who_is_missed_is_not_shown_but_keeps_the_id_for_a_while():
    film = Film()
    film.show(somebody(100), frames=10)
    assert film.show(frames=int(0.9 * LOST_S * FPS)) == []
    assert film.tracker.tracks[0].misses == int(0.9 * LOST_S * FPS)
    assert film.show(somebody(105)) == [0]
    assert film.tracker.tracks[0].misses == 0


def test_who_is_missed_for_longer_is_dead_and_the_id_is_never_used_again():
    film = Film()
    film.show(somebody(100), frames=10)
    film.show(frames=int(LOST_S * FPS) + 1)
    assert film.ids == []
    assert film.show(somebody(100)) == [1]


def test_who_was_never_confirmed_dies_sooner():
    film = Film()
    film.show(somebody(100))
    film.show(frames=int(NEVER_WAS_S * FPS) + 1)
    assert film.ids == []


def test_after_a_stall_people_are_looked_for_before_they_are_given_up():
    tracker = Tracker(LSP14)
    for frame in range(5):
        tracker.update([somebody(100), somebody(500)], [None, None], frame / FPS)
    assert [pose.id for pose in tracker.update([somebody(110)], [None], 20.0)] == [0]
    assert [track.id for track in tracker.tracks] == [0]


def test_who_was_not_looked_for_moves_on_and_lives():
    film = Film()
    for frame in range(30):
        film.show(somebody(100 + 5 * frame), somebody(600))
    for _ in range(6):  # only the other crop is refreshed
        assert film.show(somebody(600), hints=[1]) == [0, 1]
    walking = film.tracker.tracks[0]
    assert walking.misses == 0 and walking.seen_s == 1.0
    np.testing.assert_allclose(walking.moved().keypoints, somebody(100 + 5 * 35).keypoints, atol=5)
    film.show(somebody(600), hints=[1], frames=300)
    assert film.ids == [0, 1]


def test_a_pose_that_shows_nobody_is_a_miss():
    film = Film()
    film.show(somebody(100), frames=3)
    assert film.show(somebody(100, scores=0.1), hints=[0]) == []
    assert film.show(somebody(400, scores=np.full(14, np.nan))) == []
    assert film.ids == [0]


def test_a_crop_that_slid_onto_a_neighbour_gives_nobody_their_id():
    film = Film()
    for x in range(300, 400, 10):  # the right one's crop ends up on the left one
        film.show(somebody(240), somebody(700 - x), frames=1)
    film.show(somebody(240), somebody(300), frames=5)
    shown = film.tracker.update([somebody(240), somebody(241)], [0, 1], film.frame / FPS + 1 / FPS)
    assert [(pose.id, round(float(pose.keypoints[12, 0]))) for pose in shown] == [(0, 240)]
    assert film.tracker.tracks[1].misses == 1
    film.frame += 1
    assert film.show(somebody(240), somebody(300), hints=[0, 1]) == [0, 1]


def test_a_slid_crop_refreshes_the_neighbour_whose_own_crop_is_missing():
    film = Film()
    film.show(somebody(240), somebody(400), frames=5)
    shown = film.tracker.update([somebody(241)], [1], film.frame / FPS + 1 / FPS)
    assert [(pose.id, round(float(pose.keypoints[12, 0]))) for pose in shown] == [(0, 240)]


def test_a_jerk_of_the_camera_loses_nobody():
    film = Film()
    film.show(somebody(240), somebody(600), frames=10)
    jerk = 0.3 * SIZE_PX  # in one frame, and everybody's place is foretold wrong
    for more in (jerk, 2 * jerk, 2 * jerk):
        assert film.show(somebody(240 + more), somebody(600 + more), hints=[0, 1]) == [0, 1]


def test_a_jerk_lends_nobody_the_place_of_a_neighbour():
    film = Film()
    film.show(somebody(240), somebody(300), frames=10)
    shown = film.tracker.update([somebody(240), somebody(242)], [0, 1], 1.0)  # both crops show the left one
    assert [pose.id for pose in shown] == [0]
    shown = film.tracker.update([somebody(240)], [1], 1.0 + 1 / FPS)  # and now only the other one's
    assert [pose.id for pose in shown] == [0]


def test_whom_two_crops_show_after_a_jerk_is_left_open():
    film = Film()
    film.show(somebody(240), somebody(300), frames=10)
    assert film.show(somebody(180), somebody(182), hints=[0, 1]) == []
    assert film.ids == [0, 1]


def test_two_crops_of_one_track_are_not_two_people_of_one_id():
    film = Film()
    film.show(somebody(240), frames=10)
    assert film.show(somebody(190), somebody(290), hints=[0, 0]) == [0]


def test_a_stranger_in_a_tracks_crop_is_left_to_the_detector():
    film = Film()
    film.show(somebody(240), frames=5)
    assert film.show(somebody(700), hints=[0]) == []
    assert film.show(somebody(700)) == [1]


def test_a_detection_of_somebody_who_is_followed_is_no_second_person():
    film = Film()
    film.show(somebody(240), frames=5)
    assert film.show(somebody(240), somebody(246), hints=[0, None]) == [0]
    assert film.ids == [0]


def test_two_tracks_that_come_to_follow_one_person_become_the_older():
    film = Film()
    film.show(somebody(240), somebody(275), frames=10)  # two detections that see one person differently
    assert film.ids == [0, 1]
    shown = [film.show(somebody(258), somebody(260), hints=[0, 1]) for _ in range(20)]
    assert film.ids == [0]
    assert shown[-1] == [0] and all(len(ids) == 1 for ids in shown)


def test_people_who_cross_do_not_merge():
    film = Film()
    for frame in range(60):
        left, right = somebody(100 + 5 * frame), somebody(395 - 5 * frame)
        hidden = 24 <= frame <= 36
        film.show(left, *([] if hidden else [right]))
    assert film.ids == [0, 1]
    assert film.tracker.tracks[0].pose.keypoints[12, 0] > film.tracker.tracks[1].pose.keypoints[12, 0]


@pytest.mark.parametrize("step", [0.0, -1.0, math.nan, math.inf, 1e-9])
def test_odd_timestamps_neither_freeze_nor_lose_anybody(step):
    tracker, time = Tracker(LSP14), 0.0
    walker = Walker(straight(100, 60))
    for frame in range(90):
        (shown,) = tracker.update([pose_at(walker.joints(frame / FPS))], [None], time)
        time += step
        assert shown.id == 0
    if step != 1e-9:  # frames a nanosecond apart are no film
        assert np.abs(shown.keypoints - walker.joints(89 / FPS)).max() < 0.05 * SIZE_PX


def test_without_smoothing_joints_come_back_as_they_are():
    film = Film(smooth=False)
    film.show(somebody(100), frames=3)
    joints = STANDING * SIZE_PX + 7
    joints[2] = np.nan
    pose = pose_at(joints + np.array([100.0, 300.0]))
    (shown,) = film.tracker.update([pose], [0], 1.0)
    np.testing.assert_array_equal(shown.keypoints, pose.keypoints)
    assert shown.scores is pose.scores and shown.box_xyxy is pose.box_xyxy and shown.score == pose.score


def test_a_missing_joint_is_held_and_its_scores_stay():
    film = Film()
    film.show(somebody(100), frames=3)
    joints = somebody(100).keypoints.copy()
    joints[3] = np.nan
    pose = replace(somebody(100), keypoints=joints)
    (shown,) = film.tracker.update([pose], [0], 1.0)
    np.testing.assert_allclose(shown.keypoints, somebody(100).keypoints, atol=1e-3)
    assert np.isnan(pose.keypoints[3]).all(), "the pose that was given is left as it is"
    assert shown.scores is pose.scores


def test_what_does_not_fit_is_said():
    tracker = Tracker(LSP14)
    with pytest.raises(ShapeError, match="one a pose, None for a detection, but got 0 for 1 poses"):
        tracker.update([somebody(1)], [], 0.0)
    with pytest.raises(ShapeError, match="the 14 keypoints of the tracker's set, but got one of 3; make the tracker"):
        tracker.update([pose_at(np.zeros((3, 2)))], [None], 0.0)


NUMBERS = st.floats(width=32)  # NaN, infinities and the largest among them
PLACES = st.one_of(st.floats(-500, 1500, width=32), NUMBERS)
SCORES = st.one_of(st.floats(0, 1, width=32), NUMBERS)


@st.composite
def odd_poses(draw):
    """Somebody who stands somewhere, with a few joints that may be anything."""
    pose = somebody(draw(st.sampled_from([100, 150, 300, 800])), scores=draw(st.sampled_from([0.15, 0.3, 0.7])))
    for joint in draw(st.lists(st.integers(0, 13), max_size=6)):
        pose.keypoints[joint] = draw(PLACES), draw(PLACES)
        pose.scores[joint] = draw(SCORES)
    return replace(pose, box_xyxy=np.array([draw(PLACES) for _ in range(4)], np.float32))


FRAMES = st.lists(
    st.tuples(
        st.lists(st.tuples(odd_poses(), st.one_of(st.none(), st.integers(0, 6))), max_size=4),
        st.one_of(st.floats(0, 10), st.floats()),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(FRAMES, st.booleans())
def test_whatever_comes_ids_are_unique_and_scores_are_kept(frames, smooth):
    tracker, dead, scores = Tracker(LSP14, smooth), set(), {}
    for people, timestamp_s in frames:
        before = {track.id for track in tracker.tracks}
        shown = tracker.update([pose for pose, _ in people], [hint for _, hint in people], timestamp_s)
        now = [track.id for track in tracker.tracks]
        assert now == sorted(set(now)), "ids are unique and in order"
        assert not dead.intersection(now), "nobody comes back from the dead"
        dead |= before.difference(now)
        scores.update({id(pose.scores): pose.scores for pose, _ in people})
        assert all(id(pose.scores) in scores for pose in shown)
        assert [pose.id for pose in shown] == [track.id for track in tracker.tracks if not track.misses]
        assert all(track.pose.id == track.id and track.unseen_s >= 0 for track in tracker.tracks)
        assert all(np.isfinite(track.drift).all() for track in tracker.tracks)
