"""Which pictures of many make a calibration set.

`spread` takes them evenly from the first to the last. `covering` takes those that lie farthest apart: every candidate
is described by numbers, and each choice is the candidate farthest from all that were chosen before, so that rare poses,
scales and lights are not missed (Gonzalez' greedy k-centre). The numbers come in groups, which weigh the same:

    of all                  brightness and contrast, size, the thumbnail (8 x 8 grey values, each less their mean)
    of labelled people too  which joints are labelled, where in the crop they lie, how much of the crop they take up

Numbers are standardised and cut at two standard deviations, lest freaks be all that is chosen. Candidates are four
times as many as are wanted, spread over all: looking at every picture of a large data set would take minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hgedge import geometry
from hgedge.datasets import Person
from hgedge.errors import SourceError
from hgedge.runtime.preprocess import crop

SELECTIONS = ("spread", "covering")
CANDIDATES = 4  # for each one wanted
THUMBNAIL, SAMPLED = 8, 64  # pixels a side, of the thumbnail and of the crop that it is the mean of
MAX_DEVIATIONS = 2.0


def chosen(pictures: Sequence[Path | Person], count: int, selection: str, seed: int = 0) -> list[int]:
    """Indices of `count` pictures, rising; `seed` draws the first one that `covering` chooses."""
    if selection == "spread":
        return spread(len(pictures), count)
    candidates = spread(len(pictures), min(len(pictures), CANDIDATES * count))
    found = covering(features([pictures[index] for index in candidates]), count, seed)
    return [candidates[index] for index in found]


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` indices below `count`, evenly spread from the first to the last."""
    return np.linspace(0, count - 1, wanted).round().astype(int).tolist()


def covering(points: np.ndarray, wanted: int, seed: int) -> list[int]:
    """Indices of points that lie far apart, rising.

    Args:
        points: (N, F), `wanted` at least.
        wanted: How many.
        seed: Draws the first.
    """
    found = [int(np.random.default_rng(seed).integers(len(points)))]
    distance = np.full(len(points), np.inf)
    while len(found) < wanted:
        distance = np.minimum(distance, ((points - points[found[-1]]) ** 2).sum(axis=1))
        distance[found[-1]] = -1  # never again, though others may lie at the same place
        found.append(int(distance.argmax()))
    return sorted(found)


def features(pictures: Sequence[Path | Person]) -> np.ndarray:
    """(N, F) numbers that describe pictures, or people in their crops; all 0 where one cannot be read."""
    described = [_groups(picture) for picture in pictures]
    whole = next((groups for groups in described if groups is not None), None)
    if whole is None:
        return np.zeros((len(described), 1))
    columns = []
    for group, of_one in enumerate(whole):
        rows = np.array([np.full(len(of_one), np.nan) if row is None else row[group] for row in described])
        known = ~np.isnan(rows)
        number = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, rows, 0).sum(axis=0) / number
        away = np.where(known, rows - mean, 0)
        deviation = np.sqrt((away**2).sum(axis=0) / number)
        scaled = away / np.where(deviation > 0, deviation, 1)
        columns.append(np.clip(scaled, -MAX_DEVIATIONS, MAX_DEVIATIONS) / np.sqrt(len(of_one)))
    return np.concatenate(columns, axis=1)


def _groups(picture: Path | Person) -> list[np.ndarray] | None:
    """Groups of numbers, NaN where one is not known; None of a picture that cannot be read."""
    from hgedge.sources.images import read_picture

    try:
        pixels = picture.read() if isinstance(picture, Person) else read_picture(picture)
    except SourceError:
        return None
    box = picture.box_xyxy if isinstance(picture, Person) else geometry.whole_frame_box(pixels.shape[:2])
    sampled = np.empty((SAMPLED, SAMPLED, 1), np.uint8)
    crop(pixels, geometry.frame_from_input(box, (SAMPLED, SAMPLED)), sampled)
    cells = sampled.reshape(THUMBNAIL, SAMPLED // THUMBNAIL, THUMBNAIL, -1).mean(axis=(1, 3))
    light = np.array([cells.mean(), cells.std()])
    thumbnail = (cells - cells.mean()).reshape(-1)
    size = np.log(np.asarray(box[2:] - box[:2], np.float64))
    if not isinstance(picture, Person):
        return [light, size, thumbnail]
    inside = np.where(picture.labelled[:, None], (picture.keypoints - box[:2]) / (box[2:] - box[:2]), np.nan)
    extent = np.nanmax(inside, axis=0) - np.nanmin(inside, axis=0)
    return [light, size, thumbnail, picture.labelled.astype(np.float64), inside.reshape(-1), extent]
