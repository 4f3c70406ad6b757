"""Time things side by side: every round runs each candidate once, so that a slow moment hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hgedge.benchmark.steady import Clock, warm_up


def interleaved(
    candidates: Mapping[str, Callable[[], Any]],
    rounds: int,
    warmup: int | None = None,
    pause_s: float = 0.0,
    clock: Clock = time.perf_counter,
) -> dict[str, np.ndarray]:
    """Wall-clock samples of several candidates, taken in turn.

    Args:
        candidates: Name -> what to time.
        rounds: Samples of each.
        warmup: Calls of each before the first sample; by default as many as `hgedge.benchmark.steady.warm_up` finds
            that they need. Who wants to know whether they settled calls that first, and gives 0 here.
        pause_s: Rest before each call, for threads of the one before to go to sleep.
        clock: Tells seconds.

    Returns:
        Name -> (rounds,) float64 milliseconds, in the order taken.
    """
    if warmup is None:
        warm_up(candidates, pause_s, clock=clock)
    for run in candidates.values():
        for _ in range(warmup or 0):
            run()
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            if pause_s:
                time.sleep(pause_s)
            started = clock()
            run()
            samples[name].append(1e3 * (clock() - started))
    return {name: np.array(taken) for name, taken in samples.items()}


def percentiles(samples_ms: np.ndarray) -> dict[str, float]:
    """p50, p95 and p99 of samples in milliseconds."""
    return {f"p{p}": round(float(np.percentile(samples_ms, p)), 4) for p in (50, 95, 99)}


def ratio(slower_ms: np.ndarray, faster_ms: np.ndarray) -> float:
    """How many times faster the second is: median of the rounds' own ratios, for samples taken in turn."""
    return round(float(np.median(slower_ms / faster_ms)), 4)
