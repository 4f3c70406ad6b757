"""Samples are what calls cost, in turn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hgedge.benchmark.timing import interleaved, percentiles, ratio


def test_samples_are_taken_in_turn(fake_clock) -> None:
    candidates = {
        "one": fake_clock.spending(iter([7.0, 1.0, 2.0, 3.0]), "one"),
        "other": fake_clock.spending(itertools.repeat(5.0), "other"),
    }
    samples = interleaved(candidates, rounds=3, warmup=1, clock=fake_clock)
    assert fake_clock.calls == ["one", "other"] * 4
    assert samples["one"] == pytest.approx([1, 2, 3]) and samples["other"] == pytest.approx([5, 5, 5])


def test_warm_up_ends_by_itself_before_the_first_sample(fake_clock) -> None:
    costs = itertools.chain(itertools.repeat(40.0, 20), itertools.repeat(10.0))
    samples = interleaved({"engine": fake_clock.spending(costs)}, rounds=30, clock=fake_clock)["engine"]
    assert samples == pytest.approx(np.full(30, 10.0))


def test_no_warm_up_where_none_is_wanted(fake_clock) -> None:
    samples = interleaved({"engine": fake_clock.spending(iter([9.0, 1.0]))}, rounds=2, warmup=0, clock=fake_clock)
    assert samples["engine"] == pytest.approx([9, 1])


def test_numbers_of_samples() -> None:
    samples = np.arange(1, 102) / 3
    assert percentiles(samples) == {"p50": 17.0, "p95": 32.0, "p99": 33.3333}
    assert ratio(np.array([2.0, 30.0, 4.0]), np.array([1.0, 10.0, 2.0])) == 2.0
