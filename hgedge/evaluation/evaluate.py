"""Score an engine or a network on labelled people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import hgedge.datasets
from hgedge.datasets import Dataset
from hgedge.errors import ConfigError
from hgedge.evaluation.pck import pck
from hgedge.progress import Progress, no_progress
from hgedge.runtime.pipeline import Pipeline, load


def evaluate(
    target: str,
    data: Path,
    split: str = "val",
    limit: int | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """PCK of a bundle's engine, or of a checkpoint in eager FP32 PyTorch.

    Args:
        target: A bundle's folder, a checkpoint's file, or a name of the zoo.
        data: Folder of a data set.
        split: One of its splits.
        limit: Score only this many people, spread over the split.
        progress: Told about people done.

    Returns:
        `metrics` (name -> percent), `per_keypoint` (keypoint -> name -> percent), `num_people`, `num_left_out`,
        `num_keypoints`.

    Raises:
        ConfigError: The data set's keypoints are not the network's.
        SourceError: The data set or a picture of it cannot be read.
    """
    dataset = hgedge.datasets.open(data, split)
    with pipeline_of(target) as pipeline:
        if dataset.keypoint_set.names != pipeline.keypoints.names:
            raise ConfigError(
                f"{data} is labelled with the keypoints {dataset.keypoint_set.name!r}, but {target} predicts "
                f"{pipeline.keypoints.name!r}; evaluate it on a data set with its own keypoints"
            )
        return scores(predict(pipeline, dataset, chosen := _chosen(len(dataset), limit), progress), dataset, chosen)


def pipeline_of(target: str) -> Pipeline:
    """The pipeline of a bundle, or of a checkpoint in eager FP32 PyTorch."""
    if Path(target).is_dir():
        return load(target)
    from hgedge.backends.torch.session import TorchSession
    from hgedge.checkpoints import resolve

    checkpoint = resolve(target)
    session = TorchSession(checkpoint.net, checkpoint.input)
    return Pipeline(session, checkpoint.input, checkpoint.keypoints, checkpoint.decode)


def predict(pipeline: Pipeline, dataset: Dataset, chosen: np.ndarray, progress: Progress = no_progress) -> np.ndarray:
    """Keypoints of some people of a data set, each in the crop that the data set prescribes.

    Returns:
        (P, K, 2) float32, picture pixels.

    Raises:
        SourceError: A picture cannot be read.
    """
    predicted = []
    for done, index in enumerate(chosen):
        person = dataset.people[index]
        predicted.append(pipeline(person.read(), [person.box_xyxy])[0].keypoints)
        progress("evaluate", done + 1, len(chosen))
    return np.stack(predicted)


def scores(predicted: np.ndarray, dataset: Dataset, chosen: np.ndarray) -> dict[str, Any]:
    """The document of `evaluate` for (P, K, 2) predictions of some people of a data set."""
    people = [dataset.people[index] for index in chosen]
    keypoints = np.stack([person.keypoints for person in people])
    labelled = np.stack([person.labelled for person in people])
    result = pck(predicted, keypoints, labelled, dataset.keypoint_set)
    metrics = {}
    for threshold, mean, pooled in zip(result.thresholds, result.mean, result.pooled):
        metrics[f"PCK@{threshold} mean"] = round(float(mean), 3)
        metrics[f"PCK@{threshold} pooled"] = round(float(pooled), 3)
    per_keypoint = {
        name: {
            f"PCK@{threshold}": None if np.isnan(value) else round(float(value), 3)
            for threshold, value in zip(result.thresholds, result.per_keypoint[:, index])
        }
        for index, name in enumerate(dataset.keypoint_set.names)
    }
    return {
        "metrics": metrics,
        "per_keypoint": per_keypoint,
        "num_people": result.num_people,
        "num_left_out": result.num_left_out,
        "num_keypoints": result.num_keypoints,
    }


def _chosen(count: int, limit: int | None) -> np.ndarray:
    """Indices of the people to score: all, or `limit` of them spread evenly."""
    if limit is None or limit >= count:
        return np.arange(count)
    if limit < 1:
        raise ConfigError(f"limit must be positive, but got {limit}")
    return np.linspace(0, count - 1, limit).round().astype(int)
