"""The keypoints of COCO's JSON: what they are called, and where they are."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from hgedge.datasets.annotations import numbers
from hgedge.datasets.face_sets import FACE_SETS
from hgedge.datasets.keypoint_sets import KEYPOINT_SETS
from hgedge.datasets.mirror import sided_set
from hgedge.errors import ConfigError, SourceError
from hgedge.pose import KeypointSet

log = logging.getLogger(__name__)


def labels(values: Any, count: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Split one annotation's `keypoints`.

    Args:
        values: x, y, v for each of the K keypoints, in one list.
        count: K.
        where: What the error calls the annotation.

    Returns:
        keypoints: (K, 2) float64, pixels.
        labelled: (K,) bool: v > 0 (1 hidden, 2 visible), and finite.

    Raises:
        SourceError: The list has another length, or holds what is no number.
    """
    triples = numbers(values, (-1,), f"keypoints of {where}")
    if len(triples) != 3 * count:
        raise SourceError(
            f"keypoints of {where} must be {count} triples (x, y, v) as its category or the file's first person has, "
            f"but are {len(triples)} numbers; people with other keypoints belong into a file of their own"
        )
    triples = triples.reshape(count, 3)
    return triples[:, :2], (triples[:, 2] > 0) & np.isfinite(triples).all(axis=1)


def keypoint_set_of(document: dict[str, Any], path: Path) -> KeypointSet:
    """The keypoint set of a file: a known one by its names, or for faces by its number of points, else its own.

    A category's `keypoints` give the names and `skeleton` the limbs, which COCO counts from 1; left and right are told
    from the names. Without names, and of no known face set's size, keypoints are numbered and have no left or right.

    Raises:
        SourceError: Nobody has keypoints, or the names or limbs cannot be used.
    """
    people = [a for a in document["annotations"] if isinstance(a, dict) and a.get("keypoints")]
    if not people:
        raise SourceError(f"{path} has no annotation with keypoints")
    listed = document.get("categories")
    listed = listed if isinstance(listed, list) else []
    categories = [c for c in listed if isinstance(c, dict) and isinstance(c.get("keypoints"), list)]
    category = next((c for c in categories if c.get("id") == people[0].get("category_id")), {})
    names = tuple(_plain(str(name)) for name in category.get("keypoints", ()))
    if not names:
        return _unnamed(people[0]["keypoints"], path)
    known = next((keypoints for keypoints in KEYPOINT_SETS.values() if keypoints.names == names), None)
    if known is not None:
        return known
    try:
        skeleton = [(int(start) - 1, int(end) - 1) for start, end in category.get("skeleton") or ()]
        return sided_set(f"{_plain(str(category.get('name', 'points')))}{len(names)}", names, skeleton)
    except (TypeError, ValueError, ConfigError) as error:
        raise SourceError(f"category {category.get('name')!r} of {path} cannot be used: {error}") from error


def _unnamed(values: Any, path: Path) -> KeypointSet:
    count = len(numbers(values, (-1,), f"the first keypoints of {path}")) // 3
    for keypoints in FACE_SETS:
        if len(keypoints) == count:
            return keypoints
    log.warning("%s does not name its %d keypoints: they are numbered, and mirroring exchanges none", path, count)
    return KeypointSet(f"points{count}", tuple(map(str, range(count))), (), tuple(range(count)))


def _plain(name: str) -> str:
    """`Right Shoulder` and `right-shoulder` as `right_shoulder`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
