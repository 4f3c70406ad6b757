"""How the learning rate changes, and when a run has seen enough; both follow from the scores so far.

Nothing is kept between epochs: an interrupted run works the same numbers out of its history.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hgedge.training.config import TrainingConfig

PLATEAU_FACTOR = 0.2  # Newell et al., ECCV 2016: "dropped by a factor of 5"
COSINE_END = 0.01


def learning_rate(config: TrainingConfig, progress: float, scores: Sequence[float]) -> float:
    """The rate at a fraction of the run: linear warm-up, then the schedule.

    Args:
        config: The run.
        progress: In [0, 1).
        scores: Of the epochs so far, higher is better.
    """
    if progress < config.warmup:
        return config.learning_rate * max(progress / config.warmup, 0.01)
    if config.schedule == "plateau":
        return config.learning_rate * PLATEAU_FACTOR ** drops(scores, config.patience)
    fraction = (progress - config.warmup) / (1 - config.warmup)
    return config.learning_rate * (COSINE_END + (1 - COSINE_END) * (1 + math.cos(math.pi * fraction)) / 2)


def drops(scores: Sequence[float], patience: int) -> int:
    """How often `patience` epochs in a row, counted anew after each time, brought no gain on the best before."""
    best, waited, count = -math.inf, 0, 0
    for score in scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited == patience:
            waited, count = 0, count + 1
    return count


def best_of(scores: Sequence[float]) -> int:
    """Which score is the best, the first of equals."""
    return max(range(len(scores)), key=lambda index: (scores[index], -index))
