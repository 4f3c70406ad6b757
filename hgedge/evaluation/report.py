"""Predictions against labels: which accuracies a data set allows, and the document that tells them."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from hgedge.datasets.keypoint_sets import MPII16
from hgedge.evaluation.bootstrap import difference_intervals, draw_weights, intervals
from hgedge.evaluation.family import Family
from hgedge.evaluation.labels import Labels
from hgedge.evaluation.nme import nme_family
from hgedge.evaluation.oks import is_coco, oks_family
from hgedge.evaluation.pck import has_torso, pck_curve, pck_family, torso_lengths
from hgedge.evaluation.pckh import pckh_family
from hgedge.evaluation.predictions import Predictions

log = logging.getLogger(__name__)

FAMILIES: dict[str, Callable[[Predictions, Labels], Family]] = {
    "PCKh": lambda predictions, labels: pckh_family(predictions.keypoints, labels),
    "NME": lambda predictions, labels: nme_family(predictions.keypoints, labels),
    "OKS": lambda predictions, labels: oks_family(predictions.keypoints, predictions.scores, labels),
    "PCK": lambda predictions, labels: pck_family(predictions.keypoints, labels),
}


def kinds(labels: Labels) -> list[str]:
    """The accuracies that the labels allow, the field's own for such data first; a check before any work is done.

    PCKh for MPII's keypoints with head boxes, NME for keypoints without a torso whose people carry a size, OKS for
    COCO's with areas, PCK for all that have a torso.

    Raises:
        ConfigError: The labels allow none.
        ModuleNotFoundError: pycocotools, which OKS needs, is not installed.
    """
    keypoint_set = labels.keypoint_set
    sized, torso = bool((labels.unit_px > 0).any()), has_torso(keypoint_set)
    found = []
    if sized and keypoint_set.names == MPII16.names:
        found.append("PCKh")
    if sized and not torso:
        found.append("NME")
    if is_coco(keypoint_set) and bool((labels.area > 0).any()):
        importlib.import_module("pycocotools.cocoeval")
        found.append("OKS")
    if not found or (torso and bool((torso_lengths(labels.keypoints, labels.labelled, keypoint_set) > 0).any())):
        pck_curve(labels.keypoints, labels.keypoints, labels.labelled, keypoint_set)  # says what is missing
        found.append("PCK")
    return found


def families(predictions: Predictions, labels: Labels) -> list[Family]:
    """What all `kinds` of accuracy say about predictions."""
    return [FAMILIES[kind](predictions, labels) for kind in kinds(labels)]


def report(
    predictions: Predictions, labels: Labels, against: Predictions | None = None, with_curves: bool = False
) -> dict[str, Any]:
    """The document of `hgedge evaluate`.

    Args:
        predictions: What is scored.
        labels: Of the same people.
        against: Other predictions for them, to tell how sure the difference is.
        with_curves: Tell `curves` too: family -> `unit` of thresholds, `threshold`, `percent` (average -> values).

    Returns:
        `metrics` (name -> percent), `intervals` (name -> `low`, `high`, and the `difference` against others),
        `per_keypoint` (keypoint -> name -> percent), `counts` (pooled metric -> `right`, `labelled`), `num_people`,
        `num_left_out`, `num_keypoints` (of the first family; `families` has all), `num_not_finite` (labelled joints
        that are predicted as no number).
    """
    not_finite = int((labels.labelled & ~np.isfinite(predictions.keypoints).all(axis=-1)).sum())
    if not_finite:
        log.warning("%d predicted keypoints are not finite numbers; they count as wrong", not_finite)
    found = families(predictions, labels)
    measures = [measure for family in found for measure in family.measures]
    counts = {family.name: _counts(family) for family in found}
    document = {
        "metrics": {name: value for family in found for name, value in _metrics(family).items()},
        "intervals": _intervals(found, None if against is None else families(against, labels), len(labels)),
        "per_keypoint": {
            name: {measure.name: _percent(measure.per_keypoint()[index]) for measure in measures if measure.per_joint}
            for index, name in enumerate(labels.keypoint_set.names)
        },
        "counts": {name: count for measure in measures for name, count in measure.right().items()},
        **counts[found[0].name],
        "families": counts,
        "num_not_finite": not_finite,
    }
    if with_curves:
        document["curves"] = {
            family.name: {"unit": family.curve.unit, **family.curve.points()} for family in found if family.curve
        }
    return document


def _metrics(family: Family) -> dict[str, float]:
    averages = {
        name: round(float(value[0]), 3) for measure in family.measures for name, value in measure.metrics().items()
    }
    return {**{name: round(value, 3) for name, value in family.totals.items()}, **averages}


def _counts(family: Family) -> dict[str, int]:
    people = int(family.counted.any(axis=1).sum())
    return {
        "num_people": people,
        "num_left_out": len(family.counted) - people,
        "num_keypoints": int(family.counted.sum()),
    }


def _intervals(found: list[Family], against: list[Family] | None, num_people: int) -> dict[str, dict[str, Any]]:
    weights = draw_weights(num_people)
    measures = [measure for family in found for measure in family.measures]
    told: dict[str, dict[str, Any]] = {**intervals(measures, weights)}
    if against is not None:
        others = [measure for family in against for measure in family.measures]
        for name, difference in difference_intervals(measures, others, weights).items():
            told.setdefault(name, {})["difference"] = difference
    return told


def _percent(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 3)
