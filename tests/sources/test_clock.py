from __future__ import annotations

import math

import numpy as np
import pytest

from hgedge.sources.clock import DRIFT_S, LEAST_STEP_S, LiveClock

ROUNDING_S = 1e-9  # sums of a few thousand float64
PERIOD_S = 1 / 25


def timed(told: np.ndarray, arrived: np.ndarray) -> np.ndarray:
    clock = LiveClock()
    return np.array([clock(float(a), float(b)) for a, b in zip(told, arrived)])


def arrivals(count: int, jitter_s: float = 0.01) -> np.ndarray:
    """Times at which frames of 25 a second come, in order, a little early or late."""
    return 1e5 + np.arange(count) * PERIOD_S + np.random.default_rng(0).uniform(0, jitter_s, count)


def test_a_sane_clock_is_followed_without_the_jitter_of_arrival() -> None:
    told = 77 + np.arange(500) * PERIOD_S
    np.testing.assert_allclose(timed(told, arrivals(500)), told - 77, atol=ROUNDING_S)


def test_a_variable_rate_is_followed() -> None:
    told = np.cumsum(np.random.default_rng(1).choice([0.02, 0.04, 0.5], 100))
    np.testing.assert_allclose(timed(told, 5 + told), told - told[0], atol=ROUNDING_S)


def test_what_a_stream_had_saved_up_comes_at_once_but_keeps_its_times() -> None:
    told = np.arange(300) * PERIOD_S
    arrived = np.maximum(1e-4 * np.arange(300), told - 4.0)  # 4 s of it when opened
    np.testing.assert_allclose(timed(told, arrived), told, atol=ROUNDING_S)


@pytest.mark.parametrize("nothing", [math.nan, 0.0, math.inf, -1.0])
def test_without_a_clock_times_are_those_of_arrival(nothing: float) -> None:
    arrived = arrivals(100)
    np.testing.assert_allclose(timed(np.full(100, nothing), arrived), arrived - arrived[0], atol=ROUNDING_S)


@pytest.mark.parametrize("jump_s", [-1000.0, -3.0, 95443.7, 2.0])
def test_a_jump_takes_the_time_that_passed(jump_s: float) -> None:
    """A clock that starts again, wraps round after 26.5 hours, or leaves a gap."""
    told, arrived = np.arange(100) * PERIOD_S, arrivals(100)
    told[50:] += jump_s
    times = timed(told, arrived)
    steps = np.diff(times)
    assert steps[49] == pytest.approx(arrived[50] - arrived[49], abs=ROUNDING_S)
    np.testing.assert_allclose(np.delete(steps, 49), PERIOD_S, atol=ROUNDING_S)


def test_what_a_network_held_back_keeps_its_times() -> None:
    told, arrived = np.arange(200) * PERIOD_S, arrivals(200)
    arrived[50:125] = arrived[125]  # 3 s of nothing, then all at once
    np.testing.assert_allclose(timed(told, arrived), told, atol=ROUNDING_S)


@pytest.mark.parametrize("speed", [0.5, 2.5])
def test_a_clock_that_runs_at_another_rate_is_left_once_it_is_5_s_off(speed: float) -> None:
    arrived = arrivals(5000, jitter_s=0)
    off = timed(np.arange(5000) * PERIOD_S * speed, arrived) - (arrived - arrived[0])
    assert np.abs(off).max() <= DRIFT_S + PERIOD_S * speed
    np.testing.assert_allclose(off[1000:], off[1000], atol=1e-6)
    assert DRIFT_S == 5


@pytest.mark.parametrize("seed", range(20))
def test_times_rise_whatever_is_told(seed: int) -> None:
    rng = np.random.default_rng(seed)
    told = rng.choice([0.0, math.nan, math.inf, -math.inf, 1e300, -5.0, 0.04, 0.08], 300) * rng.choice([1, 1e-3], 300)
    arrived = np.cumsum(rng.choice([0.0, 0.04, 3.0], 300))
    steps = np.diff(timed(told, arrived))
    assert np.isfinite(steps).all() and steps.min() > 0
    assert LEAST_STEP_S == 1e-3
