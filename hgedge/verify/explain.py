"""Which mistake explains that two sides part: make each on the right side, and see which one brings them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from hgedge.backends.base import Session
from hgedge.runtime.preprocess import normalise
from hgedge.spec import InputSpec, Manifest
from hgedge.verify.graph import Graph
from hgedge.verify.nearness import EXPLAINED, relative_rmse, run
from hgedge.verify.normalisations import alternatives

HALVES = ((0.5, 0.5), (-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5))  # pixels, x then y
SAMPLES = 4  # values for each weight that is fitted, at least


@dataclass(frozen=True)
class Guess:
    """Mistakes that may have been made.

    Attributes:
        names: Of the mistakes.
        error: Relative RMSE of heatmaps (G, K, h, w) from what they are if these were made.
        input: How pictures are normalised then, where that is what is wrong.
    """

    names: tuple[str, ...]
    error: Callable[[np.ndarray], float]
    input: InputSpec | None = None


def best(found: np.ndarray, guesses: Iterable[Guess], before: float, limit: float) -> tuple[Guess, float] | None:
    """The guess that comes nearest to heatmaps, and how near; None where none takes most of the difference away.

    A difference of more than 1 is as large as what the heatmaps say: all that counts is what is left of that.
    """
    nearest, least = None, before
    for guess in guesses:
        after = guess.error(found)
        if after < least:
            nearest, least = guess, after
    return None if nearest is None or least > max(limit, EXPLAINED * min(before, 1)) else (nearest, least)


def input_guesses(graph: Graph, crops: np.ndarray, spec: InputSpec) -> Iterator[Guess]:
    """Mistakes in what the graph is given: another normalisation, a picture that lies half a pixel off."""
    for names, other in alternatives(spec):
        yield Guess(names, _from(partial(graph.heatmaps, normalise(crops, other))), other)
    images = normalise(crops, spec)
    for x, y in HALVES:
        yield Guess(("half-pixel",), _from(partial(graph.heatmaps, shifted(images, x, y))))


def output_guesses(source: Graph, images: np.ndarray, expected: np.ndarray, manifest: Manifest) -> Iterator[Guess]:
    """Mistakes in what comes out: left and right exchanged, an earlier stack.

    Args:
        source: The FP32 graph.
        images: (G, C, H, W) float32, normalised.
        expected: (G, K, h, w) heatmaps of the right side.
        manifest: Of the bundle.
    """
    yield _flipped(expected, manifest)
    for features in source.features(images).values():
        yield Guess(("wrong-stack",), partial(from_features, features=features))


def engine_guesses(session: Session, crops: np.ndarray, expected: np.ndarray, manifest: Manifest) -> Iterator[Guess]:
    """What can be tried with no graph: give the engine exchanged colours; exchange left and right."""
    yield _flipped(expected, manifest)
    if manifest.input.channels == 3:
        exchanged = np.ascontiguousarray(crops[..., ::-1])
        yield Guess(("color-swapped",), lambda found: relative_rmse(run(session, exchanged), expected))


def _flipped(expected: np.ndarray, manifest: Manifest) -> Guess:
    flip = list(manifest.keypoints.flip_indices)
    return Guess(("flip-order",), _from(lambda: expected[:, flip]))


def _from(made: Callable[[], np.ndarray]) -> Callable[[np.ndarray], float]:
    """How far heatmaps are from others, which are made when this is asked."""
    return lambda found: relative_rmse(found, made())


def shifted(images: np.ndarray, x: float, y: float) -> np.ndarray:
    """Images (N, C, H, W) moved by less than a pixel, bilinear; the border's pixels are repeated."""
    for axis, step in ((3, x), (2, y)):
        size = images.shape[axis]
        neighbour = np.clip(np.arange(size) + int(np.sign(step)), 0, size - 1)
        images = (1 - abs(step)) * images + abs(step) * images.take(neighbour, axis)
    return images.astype(np.float32)


def from_features(found: np.ndarray, features: np.ndarray) -> float:
    """Relative RMSE of heatmaps from the best 1x1 convolution of features: fitted on one half of the crops, then used.

    The rewrites melt an earlier stack's own head into the next stack, so the graph holds its features alone.

    Returns:
        Infinity where there is too little to fit a convolution to.
    """
    count = features.shape[1] + 1
    if found[::2][:, 0].size < SAMPLES * count or len(found) < 2:
        return float("inf")
    rows, targets = (np.moveaxis(values.astype(np.float64), 1, -1) for values in (features, found))
    rows = np.concatenate([rows, np.ones_like(rows[..., :1])], axis=-1)
    flat = (rows[::2].reshape(-1, count), targets[::2].reshape(-1, found.shape[1]))
    weights = np.linalg.lstsq(*flat, rcond=None)[0]
    return relative_rmse(np.moveaxis(rows[1::2] @ weights, -1, 1), found[1::2])
