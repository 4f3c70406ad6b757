"""OKS and AP against a plain reimplementation, on real labels of crowded pictures."""

import numpy as np
import pytest

import hgedge.datasets
from hgedge.datasets.keypoint_sets import LSP14
from hgedge.errors import ConfigError
from hgedge.evaluation.labels import labels_of
from hgedge.evaluation.oks import average_precision, is_coco, oks_family, sigmas_of, similarities
from hgedge.evaluation.predictions import Predictions
from hgedge.evaluation.report import report

pytest.importorskip("pycocotools", reason="needs pycocotools: pip install 'hgedge[bench]'")

SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000  # as COCO prints them
LEVELS = np.linspace(0.5, 0.95, 10)
EXACT = 1e-6  # percent


@pytest.fixture(params=["fixtures/coco", "coco_mini"])
def coco(request, shared_data):
    dataset = hgedge.datasets.open(shared_data / request.param)
    return labels_of(dataset, np.arange(len(dataset)))


def noisy(truth, scale, seed=0):
    """Predictions that are wrong by a share of each person's size, some by far, with scores."""
    rng = np.random.default_rng(seed)
    size = np.sqrt(truth.area)[:, None, None]
    predicted = truth.keypoints + rng.normal(0, scale, truth.keypoints.shape) * size
    predicted[::7] += 3 * size[::7]
    return predicted, rng.random(len(truth))


def plain_oks(predicted, keypoints, labelled, area):
    total = 0.0
    for point, label, known, sigma in zip(predicted, keypoints, labelled, SIGMAS):
        if known:
            total += np.exp(-((point - label) ** 2).sum() / (2 * area * (2 * sigma) ** 2))
    return total / labelled.sum()


def plain_ap(predicted, scores, truth):
    """Average precision and recall over all sizes: greedy matching in each picture, 101 points of the curve."""
    precisions, recalls = [], []
    for level in LEVELS:
        found = []
        for picture in np.unique(truth.pictures):
            people = np.flatnonzero(truth.pictures == picture)
            taken = set()
            for person in sorted(people, key=lambda p: -scores[p])[:20]:
                similar = {
                    other: plain_oks(
                        predicted[person], truth.keypoints[other], truth.labelled[other], truth.area[other]
                    )
                    for other in people
                    if other not in taken
                }
                best = max(similar, key=similar.get, default=None)
                right = best is not None and similar[best] >= level
                if right:
                    taken.add(best)
                found.append((scores[person], right))
        right = np.cumsum([hit for _, hit in sorted(found, reverse=True)])
        recall, precision = right / len(truth), right / np.arange(1, len(right) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
        precisions.append(
            np.where(places < len(precision), precision[np.minimum(places, len(precision) - 1)], 0).mean()
        )
        recalls.append(recall[-1])
    return 100 * np.mean(precisions), 100 * precisions[0], 100 * np.mean(recalls)


@pytest.mark.parametrize("scale", [0.01, 0.05, 0.15])
def test_ap_equals_a_plain_reimplementation(coco, scale):
    predicted, scores = noisy(coco, scale)
    found = average_precision(predicted, scores, coco, np.arange(len(coco)))
    expected = plain_ap(predicted, scores, coco)
    assert [found["AP"], found["AP50"], found["AR"]] == pytest.approx(expected, abs=EXACT)
    assert 0 < found["AP"] < 100


def test_the_truth_scores_100(coco):
    document = report(Predictions(coco.keypoints, np.ones(len(coco))), coco)
    names = {"AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"}
    assert names <= set(document["metrics"]) and document["metrics"]["OKS mean"] == 100
    assert {document["metrics"][name] for name in names} == {100.0}
    assert "PCK@0.2 pooled" in document["metrics"]  # COCO's people have torsos too
    assert document["num_people"] == len(coco)


def test_oks_equals_a_plain_loop(coco):
    predicted, scores = noisy(coco, 0.05)
    mean = next(measure for measure in oks_family(predicted, scores, coco).measures if measure.averages)
    expected = [
        100 * plain_oks(predicted[p], coco.keypoints[p], coco.labelled[p], coco.area[p]) for p in range(len(coco))
    ]
    np.testing.assert_allclose(mean.values[:, 0], expected, rtol=1e-9)
    np.testing.assert_array_equal(sigmas_of(coco.keypoint_set), SIGMAS)


def test_nan_is_found_nowhere(coco):
    broken = np.full_like(coco.keypoints, np.nan)
    found = average_precision(broken, np.ones(len(coco)), coco, np.arange(len(coco)))
    assert set(found.values()) == {0.0}
    assert (similarities(broken, coco) == 0).all()
    half = coco.keypoints.copy()
    half[::2] = np.nan  # as good as not found, but counted as a false alarm
    found = average_precision(half, np.ones(len(coco)), coco, np.arange(len(coco)))
    assert 0 < found["AP"] < 100 and found["AR"] == pytest.approx(100 * len(half[1::2]) / len(half))


def test_crowds_need_not_be_found(coco):
    broken = coco.keypoints.copy()
    broken[0] += 1e4
    crowd = np.arange(len(coco)) == 0
    others = np.arange(1, len(coco))
    ones = np.ones(len(coco))
    assert average_precision(broken, ones, coco, np.arange(len(coco)))["AR"] < 100
    assert average_precision(broken[1:], ones[1:], coco, others)["AR"] < 100
    assert average_precision(broken[1:], ones[1:], coco, others, crowd)["AP"] == 100


def test_sigmas_of_other_sets_are_cocos_where_it_has_the_joint():
    sigmas = dict(zip(LSP14.names, sigmas_of(LSP14)))
    assert sigmas["left_ankle"] == 0.089 and sigmas["neck"] == 0.079 and not is_coco(LSP14)


def test_nobody_with_an_area_is_refused(coco):
    from dataclasses import replace

    bare = replace(coco, area=np.full(len(coco), np.nan))
    with pytest.raises(ConfigError, match="has an area and labelled joints, so OKS is not defined"):
        oks_family(coco.keypoints, np.ones(len(coco)), bare)
    assert "AP" not in report(Predictions(coco.keypoints, np.ones(len(coco))), bare)["metrics"]
