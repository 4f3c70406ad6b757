"""Nothing is said of what is as small as the difference of a thing to itself."""

from __future__ import annotations

import numpy as np
import pytest

from hgedge.benchmark import statistics
from hgedge.benchmark.noise import noise_floor, verdict
from hgedge.benchmark.statistics import Interval, ratio_interval

TRIALS, ROUNDS = 200, 60


def test_what_is_the_same_is_level_and_a_tenth_is_not(monkeypatch) -> None:
    monkeypatch.setattr(statistics, "DRAWS", 400)
    generator, level, found, floors = np.random.default_rng(3), 0, 0, []
    for _ in range(TRIALS):
        slow_moments = np.exp(0.2 * np.abs(generator.normal(size=ROUNDS)))  # of the machine: they hit all alike
        one, again, other = (
            5 * slow_moments * np.exp(0.05 * generator.normal(size=ROUNDS)) for _ in range(3)
        )  # each 5 % off on its own
        floors.append(noise_floor(one, again))
        level += verdict(ratio_interval(one, other), floors[-1]) == "level"
        found += verdict(ratio_interval(one, other / 1.1), floors[-1]) == "faster"
        found += verdict(ratio_interval(one, other * 1.1), floors[-1]) == "slower"
    assert 0.02 < np.median(floors) < 0.04
    assert level >= 0.95 * TRIALS
    assert found >= 0.95 * 2 * TRIALS


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (Interval(1.10, 1.08, 1.12), "faster"),
        (Interval(0.90, 0.88, 0.92), "slower"),
        (Interval(1.02, 1.01, 1.029), "level"),  # surely above 1, and surely below the floor
        (Interval(1.05, 1.02, 1.08), "level"),  # it may be within
        (Interval(0.98, 0.972, 0.99), "level"),  # 1 / 1.03 = 0.971
        (Interval(5.90, 5.50, 6.20), "faster"),
    ],
)
def test_all_of_the_interval_lies_beyond_the_floor(ratio: Interval, expected: str) -> None:
    assert verdict(ratio, 0.03) == expected


def test_the_floor_does_not_ask_which_came_first() -> None:
    generator = np.random.default_rng(4)
    one, again = 5 + 0.1 * generator.normal(size=(2, 40))
    assert noise_floor(one, again) == pytest.approx(noise_floor(again, one), rel=0.2)  # medians of 1 / r, other ends
    assert noise_floor(one, one) == 0.0
    assert noise_floor(1.04 * one, one) == 0.04  # a run that favours who comes second
