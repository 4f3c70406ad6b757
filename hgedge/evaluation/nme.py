"""NME: the mean error of a face's points over its size, usually the distance of the eyes.

    NME = mean over faces of (mean over the face's labelled points of distance / size)
    FR@t = share of faces whose mean error is > t        AUC@t = mean height, up to t, of the share of faces within

A point that is predicted as no number has an infinite error: its face has failed, and the NME is infinite.

Source: Sagonas et al., "300 Faces in-the-Wild Challenge", ICCVW 2013.
"""

from __future__ import annotations

import numpy as np

from hgedge.errors import ConfigError
from hgedge.evaluation.curve import Curve, relative_errors
from hgedge.evaluation.family import Family
from hgedge.evaluation.labels import Labels
from hgedge.evaluation.measure import Average, Measure

FAILURES = (0.08, 0.1)
THRESHOLDS = (0.03, 0.05, 0.1, 0.2, 0.5)
CURVE_LIMIT = 0.2
WHOLE_FACE = (Average("", (0,), pooled=True),)


def nme_family(predicted: np.ndarray, labels: Labels) -> Family:
    """NME of (P, K, 2) predictions, failure rates, and the share of points within fractions of the face's size.

    Raises:
        ConfigError: No face has a size.
    """
    known = (labels.unit_px > 0) & labels.labelled.any(axis=1)
    if not known.any():
        raise ConfigError(f"none of the {len(labels)} faces has a size to measure by, so NME is not defined")
    counted = labels.labelled & known[:, None]
    errors = relative_errors(predicted, labels.keypoints, labels.unit_px)
    faces = np.where(counted, errors, 0).sum(axis=1, keepdims=True) / np.maximum(counted.sum(axis=1, keepdims=True), 1)
    joints = tuple(range(len(labels.keypoint_set)))
    both = (Average("mean", joints, pooled=False), Average("pooled", joints, pooled=True))
    points = Curve("within", "size of the face", errors, counted, both)
    measures = (
        Measure("NME", 100 * faces, known[:, None], WHOLE_FACE, per_joint=False),
        Measure("NME", 100 * errors, counted, averages=()),
        *(Measure(f"FR@{t}", 100.0 * (faces > t), known[:, None], WHOLE_FACE, per_joint=False) for t in FAILURES),
        *(_faces_within(faces, known, limit).area("AUC") for limit in FAILURES),
        *(points.at(threshold) for threshold in THRESHOLDS),
    )
    return Family("NME", measures, counted, curve=_faces_within(faces, known, CURVE_LIMIT))


def _faces_within(faces: np.ndarray, known: np.ndarray, limit: float) -> Curve:
    """The share of faces whose mean error is within a threshold."""
    return Curve("faces", "size of the face", faces, known[:, None], WHOLE_FACE, limit=limit, per_joint=False)
