"""Time things side by side: every round runs each candidate once, so that a slow moment hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def interleaved(
    candidates: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = 5, pause_s: float = 0.0
) -> dict[str, np.ndarray]:
    """Wall-clock samples of several candidates, taken in turn.

    Args:
        candidates: Name -> what to time.
        rounds: Samples of each.
        warmup: Calls of each before the first sample.
        pause_s: Rest before each call, for threads of the one before to go to sleep.

    Returns:
        Name -> (rounds,) float64 milliseconds, in the order taken.
    """
    for run in candidates.values():
        for _ in range(warmup):
            run()
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            time.sleep(pause_s)
            started = time.perf_counter()
            run()
            samples[name].append(1e3 * (time.perf_counter() - started))
    return {name: np.array(taken) for name, taken in samples.items()}


def percentiles(samples_ms: np.ndarray) -> dict[str, float]:
    """p50, p95 and p99 of samples in milliseconds."""
    return {f"p{p}": round(float(np.percentile(samples_ms, p)), 4) for p in (50, 95, 99)}


def ratio(slower_ms: np.ndarray, faster_ms: np.ndarray) -> float:
    """How many times faster the second is: median of the rounds' own ratios, for samples taken in turn."""
    return round(float(np.median(slower_ms / faster_ms)), 4)
