"""Walkers who cross, hide, come and go: a simulated film through simulated crops, and who is said to be who."""

from collections import Counter

import pytest

from hgedge.datasets.keypoint_sets import LSP14
from hgedge.tracking import Tracker
from tests.tracking.world import Walker, World, ids_of, straight

SCENES = {
    "two": [Walker(straight(100, 160), depth=0), Walker(straight(900, -160), depth=1)],
    "two, the older hidden": [Walker(straight(100, 160), depth=1), Walker(straight(900, -160), depth=0)],
    "three at one place": [
        Walker(straight(100, 160), depth=1),
        Walker(straight(900, -160), depth=0),
        Walker(straight(500, 0), depth=2),
    ],
    "four": [
        Walker(straight(100, 160), depth=1),
        Walker(straight(900, -160), depth=0),
        Walker(straight(1000, -100), depth=2),
        Walker(straight(50, 60), depth=3),
    ],
    "near and far": [Walker(straight(100, 200), size=400, depth=0), Walker(straight(600, -100), size=100, depth=1)],
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("losses", [0.0, 0.2], ids=["clean", "lossy"])
def test_everybody_keeps_one_id(scene, losses):
    world = World(SCENES[scene], lost_joints=losses, lost_poses=losses / 2)
    told = world.film(Tracker(LSP14), seconds=6)
    ids = [ids_of(told, walker) for walker in range(len(world.walkers))]
    assert all(len(each) == 1 for each in ids) and len({each[0] for each in ids}) == len(ids), ids


@pytest.mark.parametrize("seed", range(3))
def test_who_is_hidden_for_longer_than_a_track_lives_gets_a_new_id_and_nobody_elses(seed):
    overtaking = [Walker(straight(100, 160), depth=0), Walker(straight(250, 110), depth=1)]
    told = World(overtaking, lost_joints=0.2, lost_poses=0.1, seed=seed).film(Tracker(LSP14), seconds=7)
    front, hidden = ids_of(told, 0), ids_of(told, 1)
    assert len(front) == 1 and len(hidden) == 2
    assert max(Counter(front + hidden).values()) == 1


def test_people_come_and_go():
    walkers = [
        Walker(straight(700, -50), depth=1),
        Walker(straight(100, 100), since=0.5, until=3.0),
        Walker(straight(900, 10), since=3.5),
        Walker(straight(400, 20), since=4.5, until=5.5, depth=2),
    ]
    tracker = Tracker(LSP14)
    told = World(walkers).film(tracker, seconds=7)
    assert [ids_of(told, walker) for walker in range(4)] == [[0], [1], [2], [3]]
    assert [track.id for track in tracker.tracks] == [0, 2], "who left is forgotten"
    last_seen = [max(frame for frame, ids in enumerate(told) if walker in ids) for walker in range(4)]
    assert last_seen[1] <= 3.0 * 30 and last_seen[3] <= 5.5 * 30, "who left is not shown"
