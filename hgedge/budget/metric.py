"""What a budget is counted in: the share of joints within a loose threshold, and within a tight one beside it.

The budget is at the loose threshold, which asks whether a joint was found: this is what the field reports and what
labels are sure of. The tight one moves with every rounding of a heatmap, and annotators differ by as much; it is told.

| keypoints | loose | tight |
| --- | --- | --- |
| MPII's with head boxes | PCKh@0.5 | PCKh@0.1 |
| faces (keypoints without a torso, people with a size) | within@0.1 | within@0.03 |
| others | PCK@0.2 | PCK@0.05 |

All labelled joints are pooled, so that points are the same for everybody: 1 point is 1 % of the joints.
"""

from __future__ import annotations

import numpy as np

from hgedge.errors import ConfigError
from hgedge.evaluation.curve import Curve, relative_errors
from hgedge.evaluation.labels import Labels
from hgedge.evaluation.measure import Average, Measure
from hgedge.evaluation.pck import torso_lengths
from hgedge.evaluation.pckh import SCORED
from hgedge.evaluation.predictions import Predictions
from hgedge.evaluation.report import kinds

THRESHOLDS = {"PCKh": (0.5, 0.1), "NME": (0.1, 0.03), "PCK": (0.2, 0.05)}


def family_of(labels: Labels) -> str:
    """Which of `THRESHOLDS` the labels allow.

    Raises:
        ConfigError: None.
    """
    found = [kind for kind in kinds(labels) if kind in THRESHOLDS]
    if not found:
        raise ConfigError(
            f"a budget needs {', '.join(THRESHOLDS)}, but {labels.data} allows {', '.join(kinds(labels))}"
        )
    return found[0]


def measures_of(predictions: Predictions, labels: Labels) -> tuple[Measure, Measure]:
    """The loose and the tight measure, of one metric each."""
    family, joints = family_of(labels), tuple(range(len(labels.keypoint_set)))
    average = Average("pooled 14", SCORED, pooled=True) if family == "PCKh" else Average("pooled", joints, pooled=True)
    units = labels.unit_px
    if family == "PCK":
        units = torso_lengths(labels.keypoints, labels.labelled, labels.keypoint_set)
    curve = Curve(
        name="within" if family == "NME" else family,
        unit="",
        errors=relative_errors(predictions.keypoints, labels.keypoints, units),
        counted=labels.labelled & (units > 0)[:, None],
        averages=(average,),
        strict=family == "PCKh",
    )
    loose, tight = (curve.at(threshold) for threshold in THRESHOLDS[family])
    return loose, tight


def metric_names(labels: Labels) -> tuple[str, str]:
    """What the loose and the tight metric are called."""
    loose, tight = (next(iter(measure.metrics())) for measure in measures_of(_perfect(labels), labels))
    return loose, tight


def counted_joints(labels: Labels) -> int:
    """How many joints the loose metric is a share of."""
    loose, _ = measures_of(_perfect(labels), labels)
    return int(loose.counted[:, list(loose.averages[0].joints)].sum())


def _perfect(labels: Labels) -> Predictions:
    return Predictions(labels.keypoints, np.ones(len(labels)))
