"""The one-euro filter: its numbers, what it does to noise, and what it costs in time."""

import math

import numpy as np
import pytest

from hgedge.tracking.smoothing import CUTOFF_OF_SPEED, REST_CUTOFF_HZ, RESTLESS, SPEED_CUTOFF_HZ, OneEuro
from tests.tracking.world import FPS, NOISE

EXACT = 1e-9  # of pixels: the same operations in another order
SIZE_PX = 400.0
SURE = np.ones(1)


def smooth(joints, step_s=1 / FPS, believed=None, size_px=SIZE_PX):
    """(T, K, 2) joints through a filter; step_s one for all steps or (T,)."""
    joint_filter = OneEuro(joints[0])
    steps = np.broadcast_to(step_s, len(joints))
    believed = np.ones(joints.shape[:2]) if believed is None else believed
    given = [joint_filter.keypoints]
    for points, sure, step in zip(joints[1:], believed[1:], steps[1:]):
        joint_filter.step(points, sure, float(step), size_px)
        given.append(joint_filter.keypoints)
    return np.stack(given)


def plainly(points, steps, believed, size_px):
    """One joint through the formula, a number at a time; None is missing."""
    x, y = points[0]
    speed_x = speed_y = 0.0
    given = [(x, y)]
    for point, step, sure in zip(points[1:], steps[1:], believed[1:]):
        if point is not None:
            slow = sure / (1 + 1 / (2 * math.pi * SPEED_CUTOFF_HZ * step))
            speed_x += slow * ((point[0] - x) / step - speed_x)
            speed_y += slow * ((point[1] - y) / step - speed_y)
            speed = math.sqrt(speed_x * speed_x + speed_y * speed_y) / size_px
            cutoff = REST_CUTOFF_HZ + CUTOFF_OF_SPEED * (speed - RESTLESS if speed > RESTLESS else 0.0)
            fast = sure / (1 + 1 / (2 * math.pi * cutoff * step))
            x += fast * (point[0] - x)
            y += fast * (point[1] - y)
        given.append((x, y))
    return given


def test_every_joint_follows_the_formula_one_number_at_a_time():
    rng = np.random.default_rng(3)
    joints = 300 + np.cumsum(rng.normal(0, 8, (120, 6, 2)), axis=0)
    steps, believed = rng.choice([1 / 60, 1 / 30, 0.1, 0.7], 120), rng.uniform(0, 1, (120, 6))
    gone = rng.random((120, 6)) < 0.1
    gone[0] = False
    given = smooth(np.where(gone[..., None], np.nan, joints), steps, believed)
    for joint in range(6):
        points = [None if gone[time, joint] else joints[time, joint].tolist() for time in range(120)]
        expected = plainly(points, steps.tolist(), believed[:, joint].tolist(), SIZE_PX)
        np.testing.assert_allclose(given[:, joint], expected, rtol=0, atol=EXACT)


def test_near_and_far_people_and_turned_pictures_are_smoothed_alike():
    rng = np.random.default_rng(4)
    joints = np.cumsum(rng.normal(0, 6, (60, 5, 2)), axis=0)
    given = smooth(joints)
    np.testing.assert_allclose(smooth(joints / 8, size_px=SIZE_PX / 8), given / 8, atol=EXACT)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    np.testing.assert_allclose(smooth(joints @ turn), given @ turn, atol=EXACT)


def test_a_joint_that_is_not_believed_or_missing_is_held():
    joints = np.full((4, 3, 2), 100.0)
    joints[1:, 0], joints[1:, 1], joints[1:, 2] = 160.0, np.nan, 160.0
    believed = np.ones((4, 3))
    believed[1:, 0] = 0
    held, missing, followed = smooth(joints, believed=believed)[-1]
    assert held.tolist() == missing.tolist() == [100.0, 100.0]
    assert (followed > 140).all()


def test_what_is_believed_half_goes_half_as_far():
    joints = np.full((2, 2, 2), 100.0)
    joints[1] += 1e-3  # too little to count as speed
    whole, half = smooth(joints, believed=np.array([[1, 1], [1, 0.5]]))[-1] - 100
    np.testing.assert_allclose(half, whole / 2, rtol=1e-6)


def test_a_joint_that_comes_later_starts_where_it_is():
    joints = np.array([[[np.nan, np.nan]], [[50.0, 60.0]]])
    assert smooth(joints)[-1].tolist() == [[50.0, 60.0]]


def test_its_velocity_is_that_of_what_it_gives():
    speed = 0.5 * SIZE_PX
    joint_filter = OneEuro(np.zeros((1, 2)))
    for frame in range(1, 60):
        joint_filter.step(np.array([[speed * frame / FPS, 0.0]]), SURE, 1 / FPS, SIZE_PX)
    np.testing.assert_allclose(joint_filter.velocity, [[speed, 0.0]], rtol=0.01)


# What it does. Noise is white, 0.5 % of the person's size: the default model's on stills of a video with a camera's
# noise, which from one frame to the next has an autocorrelation of 0.05.

TIME = np.arange(6 * FPS) / FPS
PHASES = np.linspace(0, 2 * np.pi, 24, endpoint=False)


def wave(amplitude, hertz):
    """Sizes along x of 24 joints, each at another phase."""
    return amplitude * np.sin(2 * np.pi * hertz * TIME[:, None] + PHASES)


def walk(speed):
    return np.repeat(speed * np.maximum(TIME - 1, 0)[:, None], len(PHASES), axis=1)


def reach(distance, seconds):
    """Out and no farther, as a hand does: of least jerk."""
    part = np.clip((TIME - 2) / seconds, 0, 1)[:, None]
    return np.repeat(distance * (10 * part**3 - 15 * part**4 + 6 * part**5), len(PHASES), axis=1)


def seen(along_x, noise=NOISE, seed=0):
    """(T, 24, 2) pixels."""
    truth = np.stack([along_x, np.zeros_like(along_x)], axis=2)
    return SIZE_PX * (truth + np.random.default_rng(seed).normal(0, noise, truth.shape))


def lag_frames(truth, given):
    """How much later a movement is given, to a twentieth of a frame: where the shifted truth fits best."""
    shifts, frames, inside = np.arange(-1, 4, 0.05), np.arange(len(truth)), slice(15, -15)

    def misfit(shift):
        moved = [np.interp(frames[inside] - shift, frames, joint) for joint in truth.T]
        return np.mean(np.std(np.array(moved).T - given[inside], axis=0))

    return shifts[np.argmin([misfit(shift) for shift in shifts])]


@pytest.mark.parametrize(("noise", "fps", "at_least"), [(NOISE, 30, 4.0), (NOISE, 60, 4.0), (2 * NOISE, 30, 2.5)])
def test_the_jitter_of_somebody_still_falls_to_a_third_and_less(noise, fps, at_least):
    still = seen(np.zeros((len(TIME), len(PHASES))), noise)
    settled = slice(fps, None)
    before, after = (np.sqrt(np.mean(joints[settled] ** 2)) for joints in (still, smooth(still, 1 / fps)))
    assert before / after >= at_least, f"{before / after:.2f}"


@pytest.mark.parametrize(
    "along_x",
    [wave(0.25, 1), wave(0.1, 1), wave(0.2, 2), walk(0.5), walk(1.0), reach(0.5, 0.5), reach(0.2, 0.3)],
    ids=["wave", "small wave", "fast wave", "stroll", "walk", "reach", "short reach"],
)
def test_what_moves_is_given_less_than_a_frame_late(along_x):
    joints = seen(along_x)
    truth = SIZE_PX * along_x
    added = lag_frames(truth, smooth(joints)[..., 0]) - lag_frames(truth, joints[..., 0])
    assert added <= 1.0, f"{added:.2f} frames"


def test_a_jump_is_nearly_made_at_once():
    jump = np.where(TIME < 2, 0.0, 0.5)[:, None]
    given = smooth(seen(np.repeat(jump, len(PHASES), axis=1)))[..., 0] / (0.5 * SIZE_PX)
    first = int(2 * FPS)
    assert given[first].mean() >= 0.85
    assert given[first + 3].mean() >= 0.95


def test_dropped_frames_do_not_make_it_late():
    kept = np.sort(np.random.default_rng(5).choice(len(TIME), len(TIME) // 2, replace=False))
    steps = np.diff(TIME[kept], prepend=-1 / FPS)
    behind = walk(1.0)[kept] - smooth(seen(walk(1.0))[kept], steps)[..., 0] / SIZE_PX
    assert behind[TIME[kept] > 2].mean() * FPS <= 1.0, "frames, at a size a second"
