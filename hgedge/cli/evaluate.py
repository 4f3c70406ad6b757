"""`hgedge evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from hgedge.cli import options
from hgedge.cli.terminal import Terminal


def evaluate(
    terminal: Terminal,
    target: options.Target,
    data: options.Data,
    split: options.Split = "val",
    limit: options.LimitPeople = None,
) -> None:
    """Measure accuracy on a labelled data set: PCK, in percent."""
    from hgedge.evaluation.evaluate import evaluate as evaluate_target

    with terminal.progress() as progress:
        document = evaluate_target(target, data, split, limit, progress)
    terminal.result(document, lambda console: show(console, document))


def show(console: Console, document: Mapping[str, Any]) -> None:
    """Print metrics, then keypoints by metric."""
    metrics = Table("metric", "%", box=None, padding=(0, 2, 0, 0))
    for name, value in document["metrics"].items():
        metrics.add_row(name, _percent(value))
    console.print(metrics)
    per_keypoint = document["per_keypoint"]
    columns = list(next(iter(per_keypoint.values()), {}))
    keypoints = Table("keypoint", *columns, box=None, padding=(0, 2, 0, 0))
    for name, values in per_keypoint.items():
        keypoints.add_row(name, *(_percent(values[column]) for column in columns))
    console.print()
    console.print(keypoints)
    counts = (
        f"{document['num_people']} people, {document['num_keypoints']} keypoints; {document['num_left_out']} left out"
    )
    console.print(f"\n{counts}")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
