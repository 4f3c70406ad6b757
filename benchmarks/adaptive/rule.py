"""The rule: stop after the stack whose sure joints lie where those of the stack before it do. And what it is worth."""

import itertools
from dataclasses import dataclass

import numpy as np

from hgedge import geometry
from hgedge.evaluation.bootstrap import draw_weights
from hgedge.evaluation.labels import labels_of
from hgedge.evaluation.pck import pck_family

EARLIEST = 2  # stacks that must have run before two can agree
SURE = 0.2  # least peak of a joint that the rule looks at: most of what is made of background lies below
LOOSE, TIGHT = METRICS = ("PCK@0.2 pooled", "PCK@0.1 pooled")
QUANTILES = (0.025, 0.975)


def apart(points, scores, kind, stride):
    """(S - 1, P) cells between joints of each two stacks in a row, their mean or maximum; infinite where none is sure.

    Takes (S, P, K, 2) keypoints in pixels of the input and (S, P, K) scores. A joint is sure that both stacks are of.
    """
    cells = np.linalg.norm(np.diff(points, axis=0), axis=-1) / stride
    sure = np.minimum(scores[1:], scores[:-1]) >= SURE
    cells = np.where(sure, cells, 0)
    found = cells.max(axis=-1) if kind == "max" else cells.sum(axis=-1) / np.maximum(sure.sum(axis=-1), 1)
    return np.where(sure.any(axis=-1), found, np.inf)


@dataclass(frozen=True)
class Seen:
    """What each stack sees in some crops: (S, P, K, 2) keypoints in pixels of the input, and (S, P, K) scores."""

    points: np.ndarray
    scores: np.ndarray
    stride: float

    def exits(self, kind, limit):
        """(P,) stacks that the rule runs for each."""
        agree = apart(self.points, self.scores, kind, self.stride) <= limit
        agree[-1] = True
        return EARLIEST + agree.argmax(axis=0)

    def after(self, stacks):
        """(P, K, 2) keypoints after so many stacks, one number for all or one for each."""
        people = np.arange(self.points.shape[1])
        return self.points[np.broadcast_to(stacks, people.shape) - 1, people]


class Accuracy:
    """PCK of what stacks see in people of a data set, in all of them and in the same draws of them again and again."""

    def __init__(self, dataset, indices, affines, seen):
        self.dataset, self.indices, self.affines, self.seen = dataset, indices, affines, seen
        self.labels = labels_of(dataset, indices)
        self.weights = np.vstack([np.ones(len(indices)), draw_weights(len(indices))])
        self.fixed = {count: self.of(count) for count in range(1, len(seen.points) + 1)}

    def half(self, first):
        """Of every second person."""
        seen = Seen(self.seen.points[:, first::2], self.seen.scores[:, first::2], self.seen.stride)
        return Accuracy(self.dataset, self.indices[first::2], self.affines[first::2], seen)

    def of(self, stacks):
        """Metric -> (1 + draws,) percent; `stacks` is a number for all, or one for each."""
        found = {}
        for measure in self._measures(stacks).values():
            found |= measure.metrics(self.weights)
        return {name: found[name] for name in METRICS}

    def over(self, found, mix):
        """Metric -> points, low and high of what `of` gave over fixed numbers of stacks, each with its share."""
        told = {}
        for name, ours in found.items():
            difference = ours - sum(share * self.fixed[count][name] for count, share in mix.items())
            values = (difference[0], *np.quantile(difference[1:], QUANTILES))
            told[name] = {key: round(float(value), 3) for key, value in zip(("points", "low", "high"), values)}
        return told

    def best(self, metric):
        """(P,) the first stack after which most of each one's joints are right: no rule does better."""
        right = [self._measures(count)[metric.split()[0]] for count in self.fixed]
        return 1 + np.argmax([(each.values * each.counted).sum(axis=1) for each in right], axis=0)

    def _measures(self, stacks):
        points = [geometry.transform(*each) for each in zip(self.affines, self.seen.after(stacks))]
        found = np.stack(points).astype(np.float64) + self.dataset.origin_px
        return {measure.name: measure for measure in pck_family(found, self.labels).measures}


def rival(accuracy, times_ms, ms):
    """The most accurate mix of one or two fixed numbers of stacks that takes so long on average: number -> share."""
    mixes = [{count: 1.0} for count, own in times_ms.items() if own <= ms]
    for few, many in itertools.combinations(times_ms, 2):
        if times_ms[few] <= ms <= times_ms[many]:
            share = (ms - times_ms[few]) / (times_ms[many] - times_ms[few])
            mixes.append({few: 1 - share, many: share})
    return max(mixes, key=lambda mix: sum(share * accuracy.fixed[count][LOOSE][0] for count, share in mix.items()))
