"""PCKh: the share of joints whose error is below a fraction of the person's head, 0.6 of the head box's diagonal.

Joints are averaged as the field does, by names that say which of the 16: "mean of 14" is the mean of the joints' own
scores without pelvis and thorax, "pooled 14" the right ones of all labelled ones of the same; and so for all 16.

Source: Andriluka et al., "2D Human Pose Estimation: New Benchmark and State of the Art Analysis", CVPR 2014.
"""

from __future__ import annotations

import numpy as np

from hgedge.datasets.keypoint_sets import MPII16
from hgedge.errors import ConfigError
from hgedge.evaluation.curve import Curve, relative_errors
from hgedge.evaluation.family import Family
from hgedge.evaluation.labels import Labels
from hgedge.evaluation.measure import Average

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
NOT_SCORED = ("pelvis", "thorax")  # by the published means over 14
ALL = tuple(range(len(MPII16)))
SCORED = tuple(index for index, name in enumerate(MPII16.names) if name not in NOT_SCORED)
GROUPS = ("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
AVERAGES = (
    Average("mean of 14", SCORED, pooled=False),
    Average("pooled 14", SCORED, pooled=True),
    Average("mean of 16", ALL, pooled=False),
    Average("pooled 16", ALL, pooled=True),
    *(
        Average(group, tuple(i for i, name in enumerate(MPII16.names) if group in name), pooled=False)
        for group in GROUPS
    ),
)


def pckh_family(predicted: np.ndarray, labels: Labels) -> Family:
    """PCKh of (P, 16, 2) predictions: a joint is right if its distance to the label is < threshold x head.

    Raises:
        ConfigError: Nobody has a head to measure by.
    """
    known = labels.unit_px > 0
    if not known.any():
        raise ConfigError(f"none of the {len(labels)} people has a head box, so PCKh is not defined")
    curve = Curve(
        name="PCKh",
        unit="0.6 x head box diagonal",
        errors=relative_errors(predicted, labels.keypoints, labels.unit_px),
        counted=labels.labelled & known[:, None],
        averages=AVERAGES,
        strict=True,
    )
    measures = (*(curve.at(threshold) for threshold in THRESHOLDS), curve.area("PCKh-AUC"))
    return Family("PCKh", measures, curve.counted, curve=curve)
