"""What a run tells of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hgedge.training.config import TrainingConfig

Line = dict[str, Any]


def told(history: Sequence[Line], config: TrainingConfig, metric: str, best: int) -> str:
    """The last epoch on one line, for people.

    Args:
        history: A line an epoch.
        config: The run.
        metric: The number that counts.
        best: Which line is the best so far.
    """
    line = history[-1]
    parts = [
        f"epoch {line['epoch']}/{config.epochs}",
        f"loss {line['loss']:.4f}",
        f"{metric} {line[metric]:.2f} (best {history[best][metric]:.2f})",
        f"rate {line['learning_rate']:.2e}",
        f"{line['crops_per_s']:.0f} crops/s (steps {line['step_crops_per_s']:.0f}, "
        f"loader {line['loader_crops_per_s']:.0f}, waited {line['waited']:.1%})",
    ]
    if line["epoch"] < config.epochs:
        parts.append(f"ETA {duration(seconds_left(history, config))}")
    return "  ".join(parts)


def seconds_left(history: Sequence[Line], config: TrainingConfig) -> float:
    """How long the epochs to come will take if a pixel takes as long as in the last one."""
    line = history[-1]
    sizes = [config.phases[config.phase_at(epoch)].input_size for epoch in range(len(history), config.epochs)]
    return sum((size / line["input_size"]) ** 2 for size in sizes) * (line["seconds"] + line["score_seconds"])


def duration(seconds: float) -> str:
    """Such as `2 h 05 min`, `7 min` or `40 s`."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min" if seconds >= 90 else f"{round(seconds)} s"
