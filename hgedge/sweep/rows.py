"""From notes to the table: accuracy with intervals, milliseconds, and who is on the front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hgedge.budget.notebook import Note
from hgedge.evaluation.bootstrap import COVERAGE, draw_weights
from hgedge.sweep.grid import Candidate
from hgedge.sweep.measure import BASELINE
from hgedge.sweep.pareto import front

HOW = (
    "Milliseconds from a picture in memory to one person's keypoints. Every candidate was timed in turn with the "
    "baseline; its latency is the baseline's, times the median ratio of those rounds. Rows that are timed_together, "
    "and the baseline, were timed once more at the end, all in the same rounds; theirs are the medians of that run."
)
Row = dict[str, Any]


def rows_of(
    grid: Sequence[Candidate],
    notes: Mapping[Candidate, Mapping[str, Note]],
    failed: Mapping[Candidate, str],
    together: Note,
    counted: Mapping[str, np.ndarray],
) -> list[Row]:
    """A row a candidate, in the order of the grid; without what `compare` adds.

    Args:
        grid: All candidates.
        notes: `latency` and `accuracy` of those that could be measured.
        failed: Why others could not.
        together: What `hgedge.sweep.measure.latencies` gave.
        counted: Metric -> (P,) joints of each person that count; the loose metric first.
    """
    rows = [_row(candidate, notes.get(candidate), together, counted) for candidate in grid]
    for candidate, row in zip(grid, rows):
        if candidate in failed:
            row["failed"] = failed[candidate]
    known = [row for row in rows if "failed" not in row]
    for place in front([(row["latency_ms_p50"], row["accuracy"]) for row in known]):
        known[place]["pareto"] = True
    return rows


def _row(
    candidate: Candidate, notes: Mapping[str, Note] | None, together: Note, counted: Mapping[str, np.ndarray]
) -> Row:
    row: Row = {
        "name": candidate.name,
        "num_stacks": candidate.num_stacks,
        "input_hw": list(candidate.input_hw),
        "precision": candidate.precision,
        "placement": candidate.placement,
        "latency_ms_p50": None,
        "accuracy": None,
        "pareto": False,
    }
    if notes is None:
        return row
    latency, accuracy = notes["latency"], notes["accuracy"]
    measured = together["ms"].get(candidate.name)
    derived = together["ms"][BASELINE]["p50"] / latency["ratio"]
    found = {name: 100 * sum(right) / float(counted[name].sum()) for name, right in accuracy["right"].items()}
    return {
        **row,
        "latency_ms_p50": round(measured["p50"] if measured else derived, 4),
        "latency_ms": measured,
        "timed_together": measured is not None,
        "ratio_to_baseline": latency["ratio"],
        "ratio_interval": {name: latency[name] for name in ("low", "high")},
        "accuracy": round(next(iter(found.values())), 3),
        "metrics": {name: round(value, 3) for name, value in found.items()},
        "gmacs": accuracy["gmacs"],
        "agreement": accuracy["agreement"],
        "model_onnx_sha256": accuracy["model_onnx"],
    }


def compare(rows: Sequence[Row], notes: Sequence[Note], counted: Mapping[str, np.ndarray]) -> None:
    """Add the interval of each accuracy, and the points below the most accurate row, on the same draws of people.

    Args:
        rows: Of candidates that were measured.
        notes: Their `accuracy`.
        counted: As of `rows_of`.

    Source: paired percentile bootstrap over people, as in `hgedge.evaluation.bootstrap`.
    """
    metric, joints = next(iter(counted.items()))
    right = np.array([note["right"][metric] for note in notes], np.float64)
    weights = draw_weights(len(joints))
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = 100 * (right @ weights.T) / (weights @ joints)  # (candidates, draws)
    draws = draws[:, np.isfinite(draws).all(axis=0)]
    best = max(range(len(rows)), key=lambda place: rows[place]["accuracy"])
    for row, own in zip(rows, draws):
        row["interval"] = _interval(own)
        points = round(rows[best]["accuracy"] - row["accuracy"], 3)
        row["below_best"] = {"points": points, **_interval(draws[best] - own)}


def _interval(draws: np.ndarray) -> dict[str, float]:
    outside = (1 - COVERAGE) / 2
    low, high = np.quantile(draws, (outside, 1 - outside))
    return {"low": round(float(low), 3), "high": round(float(high), 3)}
