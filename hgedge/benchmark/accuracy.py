"""What engines lose against their baselines on labelled people.

A drop is in points, positive where something is lost, be the metric a share of what is right or an error. Its 95 %
interval comes from drawing people again, the same ones for both (`hgedge.evaluation.bootstrap`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hgedge.benchmark.candidates import Candidate
from hgedge.datasets import Dataset
from hgedge.evaluation.evaluate import predict
from hgedge.evaluation.labels import Labels
from hgedge.evaluation.report import report
from hgedge.progress import Progress
from hgedge.runtime.pipeline import Pipeline

METRICS = {
    "PCKh@0.5 pooled 14": "PCKh@0.5",
    "within@0.1 pooled": "within@0.1",
    "OKS mean": "OKS",
    "PCK@0.2 pooled": "PCK@0.2",
}  # what reports show, the first that labels allow -> what it is called of each joint
ERRORS = ("NME", "FR@")  # how metrics begin of which less is better

Document = Mapping[str, Any]


def score(
    candidates: Sequence[Candidate],
    pipelines: Mapping[str, Pipeline],
    dataset: Dataset,
    labels: Labels,
    progress: Progress,
) -> dict[str, dict[str, Any]]:
    """What rows tell of accuracy, by name; baselines stand before what is compared with them.

    Raises:
        SourceError: A picture cannot be read.
    """
    predictions, documents, found = {}, {}, {}
    for candidate in candidates:
        name = candidate.name
        predictions[name] = predict(
            pipelines[name],
            dataset,
            labels.indices,
            lambda stage, done, total, name=name: progress(f"{stage} {name}", done, total),
        )
        against = None if candidate.is_baseline else predictions[candidate.baseline]
        documents[name] = report(predictions[name], labels, against)
        found[name] = told(documents[name], documents[candidate.baseline])
    return found


def told(document: Document, baseline: Document) -> dict[str, Any]:
    """Accuracy of an engine and what it loses, from the documents of both (`hgedge.evaluation.report`).

    Returns:
        `accuracy` and `drop` (metric -> percent, points), the 95 % intervals of both, `metric` (what reports show),
        and `drop_per_keypoint` in it (keypoint -> points, null where it is labelled nowhere).
    """
    metrics, intervals = document["metrics"], document["intervals"]
    shown = next((name for name in METRICS if name in metrics), next(iter(metrics)))
    differences = {name: each["difference"] for name, each in intervals.items() if "difference" in each}
    column = METRICS.get(shown, "")
    joints = {name: values.get(column) for name, values in document["per_keypoint"].items()}
    return {
        "metric": shown,
        "accuracy": {name: _finite(value) for name, value in metrics.items()},
        "accuracy_intervals": {
            name: {"low": each["low"], "high": each["high"]} for name, each in intervals.items() if "low" in each
        },
        "drop": {name: _lost(name, value, baseline["metrics"][name]) for name, value in metrics.items()},
        "drop_intervals": {name: _turned(name, each) for name, each in differences.items() if "low" in each},
        "drop_per_keypoint": {
            name: None if value is None else _lost(shown, value, baseline["per_keypoint"][name][column])
            for name, value in joints.items()
        },
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _lost(metric: str, value: float, before: float) -> float | None:
    """Points; None where a metric is not a number."""
    return _finite(round(value - before if metric.startswith(ERRORS) else before - value, 3) + 0.0)  # no -0


def _turned(metric: str, difference: Mapping[str, float]) -> dict[str, float]:
    """The interval of a drop, from that of the difference (this less the other)."""
    low, high = difference["low"], difference["high"]
    return {"low": low, "high": high} if metric.startswith(ERRORS) else {"low": 0.0 - high, "high": 0.0 - low}
