"""Who is who: how alike two poses are, and the best assignment of poses to tracks.

Similarity is COCO's OKS, of two poses instead of a pose and its label, with one sigma for all joints: between frames
it is motion that moves a joint, not the scatter of labels, and wrists, which labels agree upon, move most. Somebody who
was not seen for a while may be elsewhere, but in one piece: of the mean way m between the joints the part that their
drift explains is taken back, at the price of how likely so much drift is. In sizes of the person, with w the lesser
belief in a joint and d the way between both places of it:

    k^2 = (2 SIGMA)^2 AREA_OF_SIZE     v = (DRIFT t)^2     m = sum w d / sum w     u = m v / (v + k^2)
    OKS = exp(-u^2 / (2 v)) sum w exp(-|d - u|^2 / (2 k^2)) / sum w

Source: cocodataset.org, keypoint evaluation, for v = 0; 0.079 is its sigma of shoulders.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hgedge.tracking.body import Body

SIGMA = 0.079
AREA_OF_SIZE = 0.3  # a person's area over the square of their size: the median of COCO's labels
TOLERANCE = 2 * SIGMA * AREA_OF_SIZE**0.5  # k
DRIFT = 0.7  # sizes a second
ENOUGH_JOINTS = 3  # in common; with fewer, poses are less alike


def similarities(bodies: Sequence[Body], others: Sequence[Body]) -> np.ndarray:
    """How alike each of A bodies is to each of B others, which are seen now: (A, B) float64, 0 to 1."""
    if not bodies or not others:
        return np.zeros((len(bodies), len(others)))
    believed, others_believed = (np.stack([body.believed for body in group]) for group in (bodies, others))
    keypoints, others_keypoints = (np.stack([body.keypoints for body in group]) for group in (bodies, others))
    size_px, unseen_s = np.array([(body.size_px, body.unseen_s) for body in bodies]).T
    weight = np.minimum(believed[:, None], others_believed)
    apart = np.where(weight[..., None] > 0, others_keypoints - keypoints[:, None], 0.0) / size_px[:, None, None, None]
    total = np.maximum(weight.sum(axis=-1), min(ENOUGH_JOINTS, believed.shape[1]))
    mean = (weight[..., None] * apart).sum(axis=2) / total[..., None]
    sure = certainty(unseen_s)[:, None]
    drift = mean * (1 - sure[..., None] ** 2)
    alike = np.exp(-((apart - drift[:, :, None]) ** 2).sum(axis=-1) / (2 * TOLERANCE**2))
    likely = np.exp(-(drift * mean).sum(axis=-1) * (sure / TOLERANCE) ** 2 / 2)
    return likely * (weight * alike).sum(axis=-1) / total


def certainty(unseen_s: Sequence[float] | np.ndarray) -> np.ndarray:
    """How sure is the place of those who were last seen so many seconds ago: k / sqrt(k^2 + v), 0 to 1."""
    return TOLERANCE / np.hypot(TOLERANCE, DRIFT * np.asarray(unseen_s))


def assign(values: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of rows and columns, each at most once, whose values have the greatest sum; exact.

    Rows are added one by one, along the shortest path of changes to those assigned before.

    Args:
        values: (R, C), finite.

    Returns:
        min(R, C) pairs, by row.

    Source: Jonker and Volgenant, A shortest augmenting path algorithm for dense and sparse linear assignment
    problems, Computing 1987.
    """
    if values.shape[0] > values.shape[1]:
        return sorted((row, column) for column, row in assign(values.T))
    best = values.argmax(axis=1) if values.size else np.zeros(0, int)
    if len(set(best.tolist())) == len(values):  # no two want the same
        return list(enumerate(best.tolist()))
    cost = values.max(initial=0.0) - values
    row_price, column_price = np.zeros(len(cost)), np.zeros(cost.shape[1])
    owner = np.full(cost.shape[1], -1)
    for row in range(len(cost)):
        distance, before, done = np.full(len(owner), np.inf), np.full(len(owner), -1), np.zeros(len(owner), bool)
        column, current, least = -1, row, 0.0
        while current >= 0:
            through = least + cost[current] - row_price[current] - column_price
            shorter = ~done & (through < distance)
            distance[shorter], before[shorter] = through[shorter], column
            column = int(np.where(done, np.inf, distance).argmin())
            least, current, done[column] = float(distance[column]), int(owner[column]), True
        saved = np.where(done, least - distance, 0)
        column_price -= saved
        row_price[owner[owner >= 0]] += saved[owner >= 0]
        row_price[row] += least
        while column >= 0:
            earlier = int(before[column])
            owner[column] = row if earlier < 0 else owner[earlier]
            column = earlier
    return sorted((int(row), column) for column, row in enumerate(owner) if row >= 0)
