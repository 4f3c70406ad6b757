"""The front, and what is recommended of it, against looking at every pair."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hgedge.sweep.pareto import front
from hgedge.sweep.recommend import best_under, fastest_within, recommendations

FEW = st.sampled_from([1.0, 2.0, 2.5, 4.0, 8.0])  # so few that many are equal
POINTS = st.lists(st.tuples(FEW, FEW) | st.tuples(st.floats(0.1, 100), st.floats(0, 100)), max_size=12)


def dominates(one, other):
    return one[0] <= other[0] and one[1] >= other[1] and one != other


def table(points):
    return [
        {
            "name": f"candidate {place}",
            "latency_ms_p50": ms,
            "accuracy": accuracy,
            "interval": {"low": accuracy, "high": accuracy},
            "below_best": {"points": 0.0, "low": 0.0, "high": 0.0},
        }
        for place, (ms, accuracy) in enumerate(points)
    ]


@given(POINTS)
def test_front_is_all_that_nothing_dominates(points):
    expected = {p for p, one in enumerate(points) if not any(dominates(other, one) for other in points)}
    found = front(points)
    assert set(found) == expected and len(found) == len(expected)
    assert [points[place][0] for place in found] == sorted(points[place][0] for place in found)


@given(POINTS, st.sampled_from([0.0, 0.5, 1.0, 3.0, 50.0]), st.sampled_from([0.5, 1.0, 2.2, 5.0, 200.0]))
def test_recommendations_are_the_best_of_those_allowed(points, within, under):
    rows = table(points)
    near = [p for p in points if p[1] >= max(accuracy for _, accuracy in points) - within - 1e-9]
    place = fastest_within(rows, within)
    assert (place is None) == (not near)
    if place is not None:
        assert points[place] in near and points[place][0] == min(ms for ms, _ in near)
        assert place in front(points)
    fast = [p for p in points if p[0] < under]
    place = best_under(rows, under)
    assert (place is None) == (not fast)
    if place is not None:
        assert points[place] in fast and points[place][1] == max(accuracy for _, accuracy in fast)
        assert place in front(points)


def test_what_cannot_be_had_is_said_with_what_comes_nearest():
    rows = [*table([(5.0, 80.0), (9.0, 90.0)]), {"accuracy": None, "latency_ms_p50": None}]
    within, under = recommendations(rows, 1.0, 4.0)
    assert (within.wish, within.file, within.row) == ("fastest within 1 point of the best", "within-1-point.toml", 1)
    assert (under.wish, under.file, under.row) == ("best under 4 ms", "under-4-ms.toml", None)
    assert under.said.startswith("none; the fastest is candidate 0: 5.00 ms, 80.0 %")
    assert [each.said for each in recommendations([], 1.0, 4.0)] == ["none", "none"]
