from __future__ import annotations

import numpy as np

from hgedge.people.overlap import overlaps, suppressed


def test_overlaps_are_areas_counted_pixel_by_pixel() -> None:
    rng = np.random.default_rng(3)
    corners = rng.integers(0, 20, (12, 2))
    boxes = np.hstack([corners, corners + rng.integers(1, 12, (12, 2))])
    masks = np.zeros((12, 40, 40), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes):
        mask[top:bottom, left:right] = True
    expected = [[(a & b).sum() / (a | b).sum() for b in masks] for a in masks]
    np.testing.assert_allclose(overlaps(boxes, boxes), expected, rtol=0, atol=1e-12)


def test_boxes_without_area_overlap_nothing() -> None:
    line, box = np.array([[0.0, 0, 0, 9]]), np.array([[0.0, 0, 9, 9]])
    assert overlaps(line, line) == 0 and overlaps(line, box) == 0
    assert overlaps(np.empty((0, 4)), box).shape == (0, 1)


def test_the_surest_of_boxes_around_one_person_stays() -> None:
    left = [0, 0, 10, 20]
    detections = np.array([[*left, 0.5], [1, 0, 11, 20, 0.9], [30, 0, 40, 20, 0.7], [0, 1, 10, 21, 0.9]], np.float32)
    kept = suppressed(detections, 0.5)
    assert kept.tolist() == [[1, 0, 11, 20, np.float32(0.9)], [30, 0, 40, 20, np.float32(0.7)]]
    assert kept.dtype == np.float32
    assert suppressed(detections[:0], 0.5).shape == (0, 5)


def test_suppression_equals_that_of_opencv() -> None:
    import cv2

    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 60, (80, 2))
    sizes = rng.uniform(15, 40, (80, 2))
    detections = np.column_stack([corners, corners + sizes, rng.permutation(80) + 1]).astype(np.float32)
    kept = cv2.dnn.NMSBoxes(np.hstack([corners, sizes]).tolist(), detections[:, 4].tolist(), 0.0, 0.4)
    np.testing.assert_array_equal(suppressed(detections, 0.4), detections[np.ravel(kept)])
