"""Score an engine or a network on labelled people."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

import hgedge.datasets
from hgedge import backends
from hgedge.bundle import open_bundle
from hgedge.datasets import Dataset
from hgedge.errors import ConfigError
from hgedge.evaluation.flip import FlipTest
from hgedge.evaluation.labels import Labels, chosen_people, labels_of
from hgedge.evaluation.predictions import Predictions
from hgedge.evaluation.report import kinds, report
from hgedge.progress import Progress, no_progress
from hgedge.runtime.pipeline import Pipeline, load
from hgedge.spec import Manifest

log = logging.getLogger(__name__)

BUILT_FIRST = (".onnx", ".toml")
CPU_ONLY = "openvino"
SIMULATED = {"simulated": "fp16"}  # what a document says that comes from no engine


def evaluate(
    target: str,
    data: Path,
    split: str | None = None,
    limit: int | None = None,
    progress: Progress = no_progress,
    *,
    flip_test: bool = False,
    average_stacks: bool = False,
    simulate_fp16: bool = False,
) -> dict[str, Any]:
    """Accuracy of a bundle's engine, or of a checkpoint in eager FP32 PyTorch.

    Args:
        target: A bundle's folder, a checkpoint's file, or a name of the zoo.
        data: Folder of a data set.
        split: One of its splits; by default its `val`, or where there is none `test`, or else `all`.
        limit: Score only this many people, spread over the split.
        progress: Told about people done.
        flip_test: Predict on mirror images too; see `hgedge.evaluation.flip`.
        average_stacks: Take the mean of all stacks' maps instead of the last; of a checkpoint.
        simulate_fp16: Run what an FP16 bundle's engine computes in FP16 arithmetic on any CPU, not the engine itself.

    Returns:
        See `hgedge.evaluation.report.report`; `simulated` is "fp16" where it is.

    Raises:
        ConfigError: The data set's keypoints are not the network's, or the target has only one stack's maps.
        SourceError: The data set or a picture of it cannot be read.
    """
    dataset, labels = open_people(data, split, limit)
    how = {"flip_test": flip_test, "average_stacks": average_stacks, "simulate_fp16": simulate_fp16}
    document = report(predictions_of(target, dataset, labels.indices, progress, **how), labels)
    return {**document, **SIMULATED} if simulate_fp16 else document


def open_people(data: Path, split: str | None = None, limit: int | None = None) -> tuple[Dataset, Labels]:
    """A data set, and the labels of its people who are scored; arguments and errors as of `evaluate`."""
    dataset = hgedge.datasets.open(data, split)
    labels = labels_of(dataset, chosen_people(len(dataset), limit))
    kinds(labels)  # says what is missing before hours of work
    return dataset, labels


def predictions_of(
    target: str,
    dataset: Dataset,
    chosen: np.ndarray,
    progress: Progress = no_progress,
    *,
    flip_test: bool = False,
    average_stacks: bool = False,
    simulate_fp16: bool = False,
) -> Predictions:
    """What a bundle or checkpoint predicts for some people of a data set; arguments and errors as of `evaluate`."""
    how = {"flip_test": flip_test, "average_stacks": average_stacks, "simulate_fp16": simulate_fp16}
    with pipeline_of(target, **how) as pipeline:
        if dataset.keypoint_set.names != pipeline.keypoints.names:
            raise ConfigError(
                f"{dataset.name} is labelled with the keypoints {dataset.keypoint_set.name!r}, but {target} predicts "
                f"{pipeline.keypoints.name!r}; evaluate it on a data set with its own keypoints"
            )
        return predict(pipeline, dataset, chosen, progress)


def pipeline_of(
    target: str, *, flip_test: bool = False, average_stacks: bool = False, simulate_fp16: bool = False
) -> Pipeline:
    """The pipeline of a bundle, or of a checkpoint in eager FP32 PyTorch.

    Raises:
        ConfigError: Stacks are to be averaged that are not there, FP16 is to be simulated of what has none, or the
            target has to be built first.
    """
    if Path(target).suffix.lower() in BUILT_FIRST and Path(target).is_file():
        raise ConfigError(f"{target} must be built before it can be evaluated: hgedge build {target}")
    if not Path(target).is_dir():
        if simulate_fp16:
            raise ConfigError(f"{target} is no bundle; build one to simulate: hgedge build {target} --precision fp16")
        pipeline = _pipeline_of_checkpoint(target, average_stacks)
    elif average_stacks:
        raise ConfigError(f"{target} is a bundle, which keeps the last stack alone; average the stacks of a checkpoint")
    elif simulate_fp16:
        pipeline = _simulated_pipeline(Path(target))
    else:
        pipeline = load(target)
        _warn_of_storage(pipeline.manifest)
    if flip_test:
        pipeline.session = FlipTest(pipeline.session, pipeline.keypoints.flip_indices)
    return pipeline


def _simulated_pipeline(bundle: Path) -> Pipeline:
    """What a bundle's engine computes in FP16 arithmetic, on any CPU; the engine itself is not loaded."""
    manifest = open_bundle(bundle)
    session = backends.simulator().load(bundle, manifest)
    return Pipeline(session, manifest.input, manifest.keypoints, manifest.decode, manifest)


def _warn_of_storage(manifest: Manifest | None) -> None:
    if manifest is not None and manifest.precision == "fp16" and manifest.backend and manifest.backend.name == CPU_ONLY:
        log.warning("this engine stores FP16 but computes in FP32; for FP16 arithmetic: --simulate-fp16")


def _pipeline_of_checkpoint(target: str, average_stacks: bool) -> Pipeline:
    from hgedge.backends.torch.session import TorchSession
    from hgedge.checkpoints import resolve

    checkpoint = resolve(target)
    if average_stacks:
        if checkpoint.net.config.num_stacks < 2:
            raise ConfigError(f"{target} has one stack, so there is nothing to average")
        checkpoint.net.register_forward_hook(lambda net, inputs, heatmaps: heatmaps.mean(dim=1, keepdim=True))
    session = TorchSession(checkpoint.net, checkpoint.input)
    return Pipeline(session, checkpoint.input, checkpoint.keypoints, checkpoint.decode)


def predict(pipeline: Pipeline, dataset: Dataset, chosen: np.ndarray, progress: Progress = no_progress) -> Predictions:
    """Keypoints of some people of a data set, each in the crop that the data set prescribes, in the data set's pixels.

    Raises:
        SourceError: A picture cannot be read.
    """
    poses = []
    for done, index in enumerate(chosen):
        person = dataset.people[index]
        poses.extend(pipeline(person.read(), [person.box_xyxy - dataset.origin_px]))
        progress("evaluate", done + 1, len(chosen))
    keypoints = np.stack([pose.keypoints for pose in poses]).astype(np.float64) + dataset.origin_px
    return Predictions(keypoints, np.array([pose.score for pose in poses]))
