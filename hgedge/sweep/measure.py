"""What is noted of a candidate: each person's joints that are right, and milliseconds beside the baseline's.

Latency is told as a ratio to the baseline's in the very rounds that it was taken in, so that candidates which were
timed hours apart can be compared: a machine that is slower by then slows both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from hgedge.benchmark import quiet
from hgedge.benchmark.statistics import Interval, ratio_interval
from hgedge.benchmark.timing import interleaved, percentiles
from hgedge.budget.metric import measures_of
from hgedge.budget.notebook import Note
from hgedge.bundle import read_manifest
from hgedge.datasets import Dataset
from hgedge.evaluation.evaluate import predict
from hgedge.evaluation.labels import Labels
from hgedge.evaluation.predictions import Predictions
from hgedge.progress import Progress
from hgedge.runtime.pipeline import load

ROUNDS = 60
PAUSE_S = 0.005  # for the threads of the engine before to go to sleep
ATTEMPTS = 3  # to time without others taking the CPU meanwhile
BASELINE = "the baseline"

log = logging.getLogger(__name__)
Runs = Mapping[str, Callable[[], Any]]


def timed(runs: Runs, allow_noise: bool, progress: Progress) -> tuple[dict[str, np.ndarray], float]:
    """Milliseconds of each, taken in turn, and the share of the CPU that others took meanwhile.

    Raises:
        NoisyMachine: They took too much, time and again, and noise is not allowed.
    """
    for attempt in range(1, ATTEMPTS + 1):
        if not allow_noise:
            quiet.await_quiet(progress)
        with quiet.watch() as watch:
            samples = interleaved(runs, ROUNDS, pause_s=PAUSE_S)
        if allow_noise or watch.share <= quiet.LIMIT or attempt == ATTEMPTS:
            break
        log.info("timing again, as %s took %.0f %% of the CPU", watch.busiest, 100 * watch.share)
    return samples, watch.share if allow_noise else quiet.require(watch).share


def latency(bundle: Path, baseline: Path, dataset: Dataset, person: int, allow_noise: bool, progress: Progress) -> Note:
    """How many times as fast as the baseline a candidate is, end to end.

    Returns:
        `ratio`, and `low` and `high` of its 95 % interval; `others`, the share of the CPU that others took.
    """
    samples, share = _in_turn({BASELINE: baseline, "candidate": bundle}, dataset, person, allow_noise, progress)
    found: Interval = ratio_interval(samples[BASELINE], samples["candidate"])
    return {"ratio": found.value, "low": found.low, "high": found.high, "others": share}


def latencies(
    bundles: Mapping[str, Path], dataset: Dataset, person: int, allow_noise: bool, progress: Progress
) -> Note:
    """Candidates timed all together: `ms` (name -> p50, p95 and p99), and `others`."""
    samples, share = _in_turn(bundles, dataset, person, allow_noise, progress)
    return {"ms": {name: percentiles(taken) for name, taken in samples.items()}, "others": share}


def _in_turn(
    bundles: Mapping[str, Path], dataset: Dataset, index: int, allow_noise: bool, progress: Progress
) -> tuple[dict[str, np.ndarray], float]:
    """Run bundles on a person of a data set, from the picture in memory to keypoints."""
    person = dataset.people[index]
    picture, boxes = person.read(), [person.box_xyxy - dataset.origin_px]
    with ExitStack() as stack:
        pipelines = {name: stack.enter_context(load(bundle)) for name, bundle in bundles.items()}
        runs = {name: lambda each=pipeline: each(picture, boxes) for name, pipeline in pipelines.items()}
        return timed(runs, allow_noise, progress)


def accuracy(bundle: Path, dataset: Dataset, labels: Labels, progress: Progress) -> Note:
    """How many joints of each person a candidate gets right.

    Returns:
        `right` (metric -> one number a person), `model_onnx` (sha256), `gmacs`, `agreement` with FP32.
    """
    with load(bundle) as pipeline:
        predictions = predict(pipeline, dataset, labels.indices, progress)
    manifest = read_manifest(bundle)
    return {
        "right": joints_right(predictions, labels),
        "model_onnx": manifest.files["model.onnx"],
        "gmacs": manifest.model.gmacs,
        "agreement": manifest.agreement,
    }


def joints_right(predictions: Predictions, labels: Labels) -> dict[str, list[int]]:
    """Metric -> how many joints of each person are right; the loose metric first (`hgedge.budget.metric`)."""
    return {
        name: (counted & (values > 0)).sum(axis=1).tolist() for name, values, counted in _joints(predictions, labels)
    }


def joints_counted(labels: Labels) -> dict[str, np.ndarray]:
    """Metric -> (P,) how many joints of each person count."""
    perfect = Predictions(labels.keypoints, np.ones(len(labels)))
    return {name: counted.sum(axis=1) for name, _, counted in _joints(perfect, labels)}


def _joints(predictions: Predictions, labels: Labels) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The name, values and counted joints of the loose and the tight metric, both pooled over joints."""
    found = []
    for measure in measures_of(predictions, labels):
        joints = list(measure.averages[0].joints)
        found.append((next(iter(measure.metrics())), measure.values[:, joints], measure.counted[:, joints]))
    return found
