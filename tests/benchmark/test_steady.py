"""Warm-up ends when nothing settles any more: told from what calls cost; no test here looks at a real clock."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest

from hgedge.benchmark.steady import MOST_CALLS, is_steady, warm_up

SETTLED = 0.02  # the tolerance of its page
NOISY = 0.05  # and what noise of 3 % leaves open


def decaying(calls_to_settle, spread=0.0, seed=0):
    """Milliseconds: 20 that become 10, with noise."""
    generator = np.random.default_rng(seed)
    for call in itertools.count():
        yield 10 * (1 + np.exp(-call / calls_to_settle)) * np.exp(spread * generator.normal())


def test_what_costs_the_same_is_steady_after_ten_readings(fake_clock) -> None:
    warmup = warm_up({"engine": fake_clock.spending(itertools.repeat(11.0))}, clock=fake_clock)["engine"]
    assert warmup.steady and warmup.calls == 10 * 5  # 0.05 s of 11 ms each
    assert warmup.seconds == pytest.approx(0.55)


@pytest.mark.parametrize("calls_to_settle", [3, 20, 100])
def test_a_warm_up_that_decays(fake_clock, calls_to_settle: int) -> None:
    warmup = warm_up({"engine": fake_clock.spending(decaying(calls_to_settle))}, clock=fake_clock)["engine"]
    assert warmup.steady
    assert np.exp(-warmup.calls / calls_to_settle) < SETTLED
    assert warmup.calls < 8 * calls_to_settle + 60


@pytest.mark.parametrize("seed", range(5))
def test_a_warm_up_that_decays_in_noise(fake_clock, seed: int) -> None:
    engine = fake_clock.spending(decaying(60, 0.03, seed))
    warmup = warm_up({"engine": engine}, clock=fake_clock)["engine"]
    assert warmup.steady
    assert np.exp(-warmup.calls / 60) < NOISY


def test_a_step(fake_clock) -> None:
    """A compiler that is done after 12 calls."""
    costs = itertools.chain(itertools.repeat(20.0, 12), itertools.repeat(11.0))
    warmup = warm_up({"engine": fake_clock.spending(costs)}, clock=fake_clock)["engine"]
    assert warmup.steady
    assert warmup.calls >= 12 + 7 * 5  # most of the five readings before the last five come after it


def test_a_drift_never_settles(fake_clock, caplog) -> None:
    engine = fake_clock.spending(10.0 * 1.002**call for call in itertools.count())  # 1 % a reading
    with caplog.at_level(logging.WARNING):
        warmup = warm_up({"engine": engine}, most_s=5.0, clock=fake_clock)["engine"]
    assert not warmup.steady
    assert 5.0 <= warmup.seconds < 5.2
    assert f"not steady after {warmup.seconds:.1f} s and {warmup.calls} calls: engine" in caplog.text


def test_calls_are_bounded_too(fake_clock) -> None:
    engine = fake_clock.spending(1e-3 * 1.00002**call for call in itertools.count())  # a microsecond, then seven
    warmup = warm_up({"engine": engine}, clock=fake_clock)["engine"]
    assert (warmup.steady, warmup.calls) == (False, MOST_CALLS)


@pytest.mark.parametrize("spread", [0.01, 0.05, 0.2])
def test_noise_is_steady(fake_clock, spread: float) -> None:
    generator = np.random.default_rng(2)
    calls = []
    for _ in range(40):
        costs = iter(10 * np.exp(spread * generator.normal(size=10_000)))
        warmup = warm_up({"engine": fake_clock.spending(costs)}, clock=fake_clock)["engine"]
        assert warmup.steady
        calls.append(warmup.calls)
    assert np.median(calls) <= 60 and max(calls) <= 200


def test_slow_moments_are_no_drift(fake_clock) -> None:
    generator = np.random.default_rng(3)
    costs = iter(10 * np.where(generator.random(10_000) < 0.1, 5.0, 1.0))
    warmup = warm_up({"engine": fake_clock.spending(costs)}, clock=fake_clock)["engine"]
    assert warmup.steady and warmup.calls <= 200


def test_all_are_warmed_up_in_turn_until_the_last_is_steady(fake_clock) -> None:
    candidates = {
        "fast": fake_clock.spending(itertools.repeat(1.0), "fast"),
        "slow": fake_clock.spending(decaying(20), "slow"),
    }
    found = warm_up(candidates, clock=fake_clock)
    assert found["fast"].steady and found["slow"].steady
    assert found["fast"].calls == found["slow"].calls > 60
    assert fake_clock.calls == ["fast", "slow"] * found["slow"].calls


def test_one_that_drifts_is_told_from_one_that_does_not(fake_clock) -> None:
    candidates = {
        "drifts": fake_clock.spending(10.0 * 1.01**call for call in itertools.count()),
        "steady": fake_clock.spending(itertools.repeat(10.0)),
    }
    found = warm_up(candidates, most_s=2.0, clock=fake_clock)
    assert (found["drifts"].steady, found["steady"].steady) == (False, True)


def test_calls_of_seconds_are_readings_themselves(fake_clock) -> None:
    found = warm_up({"engine": fake_clock.spending(itertools.repeat(1000.0))}, clock=fake_clock)["engine"]
    assert found.steady and found.calls == 10


def test_few_readings_tell_nothing() -> None:
    assert not is_steady([1.0] * 9)
    assert is_steady([1.0] * 10)


def test_a_small_rise_is_noise_unless_all_of_them_rise() -> None:
    rising = [1 + 0.002 * index for index in range(10)]  # 1 % from half to half
    assert not is_steady(rising)
    assert is_steady([rising[index] for index in (3, 0, 6, 1, 5, 2, 9, 4, 8, 7)])
    assert is_steady([1 + 0.0005 * index for index in range(10)])  # so little may go on
