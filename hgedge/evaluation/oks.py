"""OKS and its average precision, as COCO defines them.

    OKS = mean over labelled joints of exp(-d^2 / (2 area (2 sigma)^2))

Average precision is pycocotools' own; the mean OKS of people with their own labels needs no matching.

Source: cocodataset.org, keypoint evaluation; the sigmas are COCO's.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np

from hgedge.errors import ConfigError
from hgedge.evaluation.family import Family
from hgedge.evaluation.labels import Labels
from hgedge.evaluation.measure import Average, Measure
from hgedge.pose import KeypointSet

COCO_SIGMAS = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062,
    "hip": 0.107, "knee": 0.087, "ankle": 0.089,
}  # fmt: skip
OTHER_SIGMA = 0.079  # of joints that COCO lacks: CrowdPose's for head and neck
COCO_JOINTS = {
    f"{side}{joint}" for joint in COCO_SIGMAS for side in (("",) if joint == "nose" else ("left_", "right_"))
}
STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
FAR = 3e4  # pixels: wrong for anybody, and a box of this side is still within COCO's largest area


def is_coco(keypoint_set: KeypointSet) -> bool:
    """Whether a keypoint set is COCO's 17 joints."""
    return set(keypoint_set.names) == COCO_JOINTS


def sigmas_of(keypoint_set: KeypointSet) -> np.ndarray:
    """(K,) sigma of each joint: COCO's where it has that joint, else 0.079."""
    bare = (name.removeprefix("left_").removeprefix("right_") for name in keypoint_set.names)
    return np.array([COCO_SIGMAS.get(name, OTHER_SIGMA) for name in bare])


def similarities(predicted: np.ndarray, labels: Labels) -> np.ndarray:
    """(P, K) exp(-d^2 / (2 area (2 sigma)^2)) of each joint; 0 where the prediction is no number."""
    with np.errstate(invalid="ignore", over="ignore"):
        squared = ((predicted - labels.keypoints) ** 2).sum(axis=-1)
        exponent = squared / (8 * sigmas_of(labels.keypoint_set) ** 2 * (labels.area + np.spacing(1))[:, None])
    return np.where(np.isfinite(exponent), np.exp(-np.nan_to_num(exponent)), 0.0)


def oks_family(predicted: np.ndarray, scores: np.ndarray, labels: Labels) -> Family:
    """Average precision and mean OKS of (P, K, 2) predictions with one score each.

    Raises:
        ConfigError: Nobody has both an area and a labelled joint.
    """
    known = (labels.area > 0) & labels.labelled.any(axis=1)
    if not known.any():
        raise ConfigError(f"none of the {len(labels)} people has an area and labelled joints, so OKS is not defined")
    counted = labels.labelled & known[:, None]
    similar = 100 * similarities(predicted, labels)
    person = np.where(counted, similar, 0).sum(axis=1, keepdims=True) / np.maximum(
        counted.sum(axis=1, keepdims=True), 1
    )
    measures = (
        Measure("OKS", person, known[:, None], (Average("mean", (0,), pooled=True),), per_joint=False),
        Measure("OKS", similar, counted, averages=()),
    )
    totals = average_precision(predicted[known], scores[known], labels, np.flatnonzero(known))
    return Family("OKS", measures, counted, totals=totals)


def average_precision(
    predicted: np.ndarray, scores: np.ndarray, labels: Labels, people: np.ndarray, crowd: np.ndarray | None = None
) -> dict[str, float]:
    """COCO's keypoint metrics, by pycocotools.

    Args:
        predicted: (P, K, 2) picture pixels; NaN is wrong.
        scores: (P,) which of several in a picture goes first.
        labels: Of those people and maybe others.
        people: (P,) where in the labels they are.
        crowd: (len(labels),) bool, labels of crowds, which may be found or not; the rest of the labels must be found.

    Returns:
        "AP", "AP50", ... -> percent; without those that no label has the size for.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = _coco_labels(labels, np.zeros(len(labels), bool) if crowd is None else crowd)
        truth.createIndex()
        found = truth.loadRes(_coco_results(predicted, scores, truth.dataset["annotations"], people))
        coco = COCOeval(truth, found, "keypoints")
        coco.params.kpt_oks_sigmas = sigmas_of(labels.keypoint_set)
        coco.evaluate()
        coco.accumulate()
        coco.summarize()
    return {name: 100 * float(value) for name, value in zip(STATS, coco.stats) if value >= 0}


def _coco_labels(labels: Labels, crowd: np.ndarray) -> dict[str, Any]:
    """The labels as COCO's JSON has them; people without labelled joints or area are ignored by its rules."""
    pictures, picture = np.unique(labels.pictures, return_inverse=True)
    known = labels.labelled & (labels.area > 0)[:, None]
    sides = labels.boxes_xyxy[:, 2:] - labels.boxes_xyxy[:, :2]
    annotations = [
        {
            "id": index + 1,
            "image_id": int(picture[index]),
            "category_id": 1,
            "keypoints": np.column_stack([labels.keypoints[index], 2 * known[index]]).ravel().tolist(),
            "num_keypoints": int(known[index].sum()),
            "area": float(np.nan_to_num(labels.area[index])),
            "bbox": [*labels.boxes_xyxy[index, :2].tolist(), *sides[index].tolist()],
            "iscrowd": int(crowd[index]),
        }
        for index in range(len(labels))
    ]
    images = [{"id": index} for index in range(len(pictures))]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}


def _coco_results(
    predicted: np.ndarray, scores: np.ndarray, annotations: list[dict[str, Any]], people: np.ndarray
) -> list[dict[str, Any]]:
    """Predictions as COCO's results have them."""
    points = np.clip(np.nan_to_num(predicted, nan=-FAR), -FAR, FAR)
    third = np.ones((*points.shape[:2], 1))
    return [
        {
            "image_id": annotations[person]["image_id"],
            "category_id": 1,
            "keypoints": flat.tolist(),
            "score": float(score),
        }
        for person, flat, score in zip(people, np.concatenate([points, third], axis=2).reshape(len(points), -1), scores)
    ]
