"""Similarity against a plain reimplementation, assignment against all permutations and SciPy."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from hgedge.tracking.association import AREA_OF_SIZE, DRIFT, SIGMA, assign, certainty, similarities
from hgedge.tracking.body import Body, body_of
from tests.tracking.world import Walker, pose_at, straight

EXACT = 1e-12  # of numbers around 1
ROUNDING = 1e-9  # of a sum of a few numbers below 100


def coco_oks(points, others, area, sigma):
    """COCO's definition, with every joint labelled."""
    total = 0.0
    for (x, y), (u, v) in zip(points, others):
        total += math.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * area * (2 * sigma) ** 2))
    return total / len(points)


def plainly(body, other):
    """The formula, a number at a time, in pixels."""
    pairs = [(min(a, b), q - p) for a, b, p, q in zip(body.believed, other.believed, body.keypoints, other.keypoints)]
    pairs = [(weight, way) for weight, way in pairs if weight > 0]
    total = max(3.0, sum(weight for weight, _ in pairs))
    mean = [sum(weight * way[axis] for weight, way in pairs) / total for axis in (0, 1)]
    k = AREA_OF_SIZE * (2 * SIGMA * body.size_px) ** 2
    v = (DRIFT * body.size_px * body.unseen_s) ** 2
    drift = [part * v / (v + k) for part in mean]
    price = math.exp(-(drift[0] ** 2 + drift[1] ** 2) / (2 * v)) if v else 1.0
    alike = sum(w * math.exp(-((d[0] - drift[0]) ** 2 + (d[1] - drift[1]) ** 2) / (2 * k)) for w, d in pairs)
    return price * alike / total


def bodies(count, seed, unseen_s=0.0):
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        keypoints, believed = rng.uniform(0, 120, (9, 2)), rng.uniform(0, 1, 9)
        keypoints[0], believed[0] = np.nan, 0
        made.append(Body(keypoints, believed, rng.uniform(80, 300), unseen_s))
    return made


def test_two_poses_seen_now_are_as_alike_as_coco_says():
    rng = np.random.default_rng(0)
    points, others = rng.uniform(0, 60, (2, 17, 2))
    one, two = (Body(joints, np.ones(17), 200.0) for joints in (points, others))
    expected = coco_oks(points, others, AREA_OF_SIZE * 200**2, SIGMA)
    np.testing.assert_allclose(similarities([one], [two]), [[expected]], rtol=EXACT)


@pytest.mark.parametrize("unseen_s", [0.0, 1 / 30, 0.5])
def test_every_pair_follows_the_formula(unseen_s):
    people, others = bodies(4, 1, unseen_s), bodies(3, 2)
    expected = [[plainly(body, other) for other in others] for body in people]
    np.testing.assert_allclose(similarities(people, others), expected, rtol=1e-9)


def test_nobody_is_like_nobody():
    assert similarities([], bodies(2, 0)).shape == (0, 2)
    assert similarities(bodies(2, 0), []).shape == (2, 0)


def test_few_joints_in_common_never_make_two_poses_wholly_alike():
    (body,) = bodies(1, 3)
    one_joint = Body(body.keypoints, np.arange(9) == 4, body.size_px)
    assert similarities([one_joint], [body])[0, 0] <= 1 / 3


def test_who_was_out_of_sight_may_be_elsewhere_but_in_one_piece():
    walker = Walker(straight(0, 0))
    then = walker.joints(0.0)
    lost = Body(then, np.ones(14), 200.0, unseen_s=0.5)
    moved, scattered = then + 50, then + np.random.default_rng(0).uniform(-80, 80, then.shape)
    alike = similarities([lost], [body_of(pose_at(joints)) for joints in (then, moved, scattered)])[0]
    assert alike[0] == 1
    assert 0.5 < alike[1] < 1
    assert alike[2] < 0.2


def test_certainty_fades():
    sure = certainty([0, 0.1, 0.5, 1, 60])
    assert sure[0] == 1 and (np.diff(sure) < 0).all() and sure[-1] > 0


def best_of_all(values):
    """The greatest sum by trying every assignment."""
    rows, columns = values.shape
    if rows > columns:
        return best_of_all(values.T)
    return max(
        sum(values[row, column] for row, column in enumerate(chosen))
        for chosen in itertools.permutations(range(columns), rows)
    )


def check(pairs, values):
    assert len(pairs) == min(values.shape)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    return sum(values[row, column] for row, column in pairs)


@given(
    st.tuples(st.integers(0, 5), st.integers(0, 5)).flatmap(
        lambda shape: arrays(float, shape, elements=st.sampled_from([0.0, 0.1, 0.3, 0.35, 0.7, 0.9, 1.0]))
    )
)
def test_no_assignment_is_better(values):
    assert check(assign(values), values) == pytest.approx(best_of_all(values) if values.size else 0, abs=ROUNDING)


def test_many_people_are_assigned_as_scipy_does():
    rng = np.random.default_rng(0)
    for shape in ((12, 12), (30, 20), (7, 40)):
        values = rng.random(shape) * (rng.random(shape) < 0.4)
        rows, columns = linear_sum_assignment(values, maximize=True)
        assert check(assign(values), values) == pytest.approx(values[rows, columns].sum(), abs=ROUNDING)


def test_the_best_pair_is_left_where_two_others_are_worth_more():
    assert assign(np.array([[0.9, 0.8], [0.7, 0.1]])) == [(0, 1), (1, 0)]
