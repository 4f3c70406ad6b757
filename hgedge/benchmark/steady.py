"""Warm up until nothing settles any more: caches, thread pools, compilers and clocks.

    round      every candidate once, as in the run that follows
    reading    the median of a candidate's samples in 0.05 s of rounds; one round where it takes longer, 1000 at most
    steady     the median of the last five readings lies within 2 % of that of the five before, or within what their
               own noise explains; and within 0.5 % where the ten rise or fall (Kendall's test, 5 %)

A change that comes later than this cannot be seen from here: candidates are timed in turn so that it meets all alike.

Source: Kendall, "A New Measure of Rank Correlation", Biometrika, 1938; his table for ten pairs: |S| >= 23.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

log = logging.getLogger(__name__)

HALF = 5  # readings; the last so many are compared with so many before
READING_S = 0.05
TOLERANCE, TREND_TOLERANCE = 0.02, 0.005
NOISE = 1.5  # two standard deviations of the difference of medians of five, in those of a reading
TREND = 23  # pairs in order less pairs out of order, of 45, as 5 % of all orders reach
MAD_TO_SD = 1.4826  # of a normal distribution
READING_ROUNDS = 1000
MOST_S, MOST_CALLS = 20.0, 100_000

Clock = Callable[[], float]


@dataclass(frozen=True)
class Warmup:
    """How a candidate was warmed up.

    Attributes:
        calls: Of it.
        seconds: In all, with the other candidates' calls in between.
        steady: Whether it had settled; otherwise time or calls ran out.
    """

    calls: int
    seconds: float
    steady: bool


def warm_up(
    candidates: Mapping[str, Callable[[], Any]],
    pause_s: float = 0.0,
    most_s: float = MOST_S,
    clock: Clock = time.perf_counter,
) -> dict[str, Warmup]:
    """Run candidates in turn until all are steady, or for so many seconds, or 100,000 rounds.

    Args:
        candidates: Name -> what will be timed.
        pause_s: Rest before each call.
        most_s: No round begins after so long.
        clock: Tells seconds.
    """
    readings: dict[str, list[float]] = {name: [] for name in candidates}
    started, calls = clock(), 0
    while calls < MOST_CALLS and clock() - started < most_s:
        samples = _samples(candidates, pause_s, clock)
        calls += len(next(iter(samples.values()), ()))
        for name, taken in samples.items():
            readings[name].append(float(np.median(taken)))
        if all(is_steady(each) for each in readings.values()):
            break
    seconds = round(clock() - started, 3)
    found = {name: Warmup(calls, seconds, is_steady(each)) for name, each in readings.items()}
    if unsteady := [name for name, warmup in found.items() if not warmup.steady]:
        log.warning("not steady after %.1f s and %d calls: %s", seconds, calls, ", ".join(unsteady))
    return found


def is_steady(readings: list[float]) -> bool:
    """Whether the last ten readings, in any unit, neither differ nor rise nor fall."""
    if len(readings) < 2 * HALF:
        return False
    last = np.array(readings[-2 * HALF :])
    halves = last.reshape(2, HALF)
    before, after = np.median(halves, axis=1)
    noise = MAD_TO_SD * float(np.median(np.abs(halves - np.median(halves, axis=1, keepdims=True))))
    order = int(np.sign(np.subtract.outer(last, last))[np.tril_indices(len(last), -1)].sum())
    allowed = TREND_TOLERANCE * before if abs(order) >= TREND else max(TOLERANCE * before, NOISE * noise)
    return bool(abs(after - before) <= allowed)


def _samples(candidates: Mapping[str, Callable[[], Any]], pause_s: float, clock: Clock) -> dict[str, list[float]]:
    """Rounds for as long as a reading takes: name -> seconds of each call."""
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    started = clock()
    for _ in range(READING_ROUNDS):
        for name, run in candidates.items():
            if pause_s:
                time.sleep(pause_s)
            before = clock()
            run()
            samples[name].append(clock() - before)
        if clock() - started >= READING_S:
            break
    return samples
