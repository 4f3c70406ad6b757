"""PCK: the share of joints whose error is within a fraction of the person's torso.

Source: Yang and Ramanan, "Articulated Human Detection with Flexible Mixtures of Parts", PAMI 2013 (PCK); the torso as
the mean of its labelled diagonals, right shoulder to left hip and left shoulder to right hip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hgedge.errors import ConfigError, ShapeError
from hgedge.evaluation.curve import Curve, relative_errors
from hgedge.evaluation.family import Family
from hgedge.evaluation.labels import Labels
from hgedge.evaluation.measure import Average
from hgedge.pose import KeypointSet

THRESHOLDS = (0.05, 0.1, 0.2, 0.5)
DIAGONALS = (("right_shoulder", "left_hip"), ("left_shoulder", "right_hip"))


@dataclass(frozen=True)
class PCK:
    """PCK of one set of predictions.

    Attributes:
        thresholds: (T,) fractions of the torso.
        per_keypoint: (T, K) percent, NaN where a keypoint is labelled nowhere.
        pooled: (T,) percent of all labelled joints.
        mean: (T,) percent, mean of `per_keypoint`.
        num_people: People who count.
        num_left_out: People without a labelled torso.
        num_keypoints: Labelled joints of the people who count.
    """

    thresholds: tuple[float, ...]
    per_keypoint: np.ndarray
    pooled: np.ndarray
    mean: np.ndarray
    num_people: int
    num_left_out: int
    num_keypoints: int


def has_torso(keypoint_set: KeypointSet) -> bool:
    """Whether a keypoint set names both shoulders and both hips."""
    return all(end in keypoint_set.names for diagonal in DIAGONALS for end in diagonal)


def torso_lengths(keypoints: np.ndarray, labelled: np.ndarray, keypoint_set: KeypointSet) -> np.ndarray:
    """Mean length of each person's labelled torso diagonals.

    Args:
        keypoints: (P, K, 2) picture pixels.
        labelled: (P, K) bool.
        keypoint_set: Must name both shoulders and both hips.

    Returns:
        (P,) float64 pixels, NaN where neither diagonal is labelled.

    Raises:
        ConfigError: The keypoint set has no torso.
    """
    lengths = np.full((2, len(keypoints)), np.nan)
    for row, (shoulder, hip) in enumerate(DIAGONALS):
        try:
            a, b = keypoint_set.names.index(shoulder), keypoint_set.names.index(hip)
        except ValueError:
            raise ConfigError(f"PCK needs {shoulder} and {hip}, which {keypoint_set.name!r} lacks") from None
        both = labelled[:, a] & labelled[:, b]
        lengths[row, both] = np.linalg.norm(keypoints[both, a] - keypoints[both, b], axis=-1)
    known = ~np.isnan(lengths)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, lengths, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def pck(
    predicted: np.ndarray,
    keypoints: np.ndarray,
    labelled: np.ndarray,
    keypoint_set: KeypointSet,
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> PCK:
    """Score predictions: a joint is right if its distance to the label is <= threshold x torso.

    Args:
        predicted: (P, K, 2) picture pixels; NaN is wrong.
        keypoints: (P, K, 2) labels in picture pixels.
        labelled: (P, K) bool.
        keypoint_set: Names of the K keypoints.
        thresholds: Fractions of the torso.

    Raises:
        ShapeError: The arrays do not fit together.
        ConfigError: Nobody has a labelled torso.
    """
    if predicted.shape != keypoints.shape or labelled.shape != keypoints.shape[:2]:
        raise ShapeError(
            f"predicted and keypoints must be (P, K, 2) and labelled (P, K), but got {predicted.shape}, "
            f"{keypoints.shape} and {labelled.shape}"
        )
    curve = pck_curve(predicted, keypoints, labelled, keypoint_set)
    measures = [curve.at(threshold) for threshold in thresholds]
    mean, pooled = np.concatenate([[*measure.metrics().values()] for measure in measures], axis=1)
    people = int(curve.counted.any(axis=1).sum())
    return PCK(
        thresholds=tuple(thresholds),
        per_keypoint=np.stack([measure.per_keypoint() for measure in measures]),
        pooled=pooled,
        mean=mean,
        num_people=people,
        num_left_out=len(keypoints) - people,
        num_keypoints=int(curve.counted.sum()),
    )


def pck_curve(predicted: np.ndarray, keypoints: np.ndarray, labelled: np.ndarray, keypoint_set: KeypointSet) -> Curve:
    """Errors over the torso; arguments and errors as of `pck`."""
    torso = torso_lengths(keypoints, labelled, keypoint_set)
    if not (torso > 0).any():
        raise ConfigError(f"none of the {len(torso)} people has a labelled torso, so PCK is not defined")
    joints = tuple(range(len(keypoint_set)))
    return Curve(
        name="PCK",
        unit="torso",
        errors=relative_errors(predicted, keypoints, torso),
        counted=labelled & (torso > 0)[:, None],
        averages=(Average("mean", joints, pooled=False), Average("pooled", joints, pooled=True)),
    )


def pck_family(predicted: np.ndarray, labels: Labels) -> Family:
    """PCK of (P, K, 2) predictions."""
    curve = pck_curve(predicted, labels.keypoints, labels.labelled, labels.keypoint_set)
    measures = (*(curve.at(threshold) for threshold in THRESHOLDS), curve.area("PCK-AUC"))
    return Family("PCK", measures, curve.counted, curve=curve)
