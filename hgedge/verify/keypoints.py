"""The last stage: heatmaps to keypoints, against a plain loop after the contract; and left and right in the names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hgedge.datasets.mirror import mirrored_indices
from hgedge.pose import KeypointSet
from hgedge.spec import DecodeSpec
from hgedge.verify.mistakes import mistake
from hgedge.verify.report import Mistake, Stage

EXACT_PX = 0.01  # float32 tells pixels of the largest input apart to 0.0005
Decoder = Callable[[np.ndarray], np.ndarray]
Found = tuple[list[Stage], list[Mistake]]


def decoding(decoder: Decoder, heatmaps: np.ndarray, spec: DecodeSpec) -> Found:
    """This machine's decoding of the engine's heatmaps.

    Args:
        decoder: (G, K, h, w) heatmaps -> (G, K, 2) keypoints in input pixels.
        heatmaps: (G, K, h, w) float32.
        spec: How they become keypoints.
    """
    found, plain = decoder(heatmaps), _peaks(heatmaps)
    expected = _located(plain, spec, spec.shift)
    gap = _distance(found, expected)
    figures = (float(gap.max()), float(gap.mean()), "px", float(gap.max()), EXACT_PX, "largest distance")
    stage = Stage("keypoints", "this machine's decoding", "plain decoding", *figures, ok=float(gap.max()) <= EXACT_PX)
    if stage.ok:
        return [stage], []
    shifted = plain[0] + spec.shift * plain[1]
    variants = {
        "half-pixel": [shifted * spec.stride, (shifted + 0.5) * spec.stride, shifted * spec.stride - 0.5],
        "quarter-shift": [_located(plain, spec, shift) for shift in (0.0, 0.25, 0.5, -spec.shift)],
    }
    tried = [(float(_distance(found, other).max()), name) for name, others in variants.items() for other in others]
    after, name = min(tried)
    named = mistake(name, "this machine", stage.max or 0.0, after) if after <= EXACT_PX else None
    return [stage], [named or mistake("unknown", "this machine", stage.max or 0.0)]


def agreement(engine: np.ndarray, fp32: np.ndarray, spec: DecodeSpec) -> Stage:
    """How far the engine's keypoints lie from FP32's: told, not judged, as an INT8 engine may take another peak."""
    gap = _distance(*(_located(_peaks(maps), spec, spec.shift) for maps in (engine, fp32)))
    note = "agreement with FP32, not accuracy"
    return Stage("keypoints", "engine", "golden FP32", float(gap.max()), float(gap.mean()), "px", note=note)


def sides(keypoints: KeypointSet) -> Found:
    """Whether flip_indices exchange what the names call left and right; nothing where no name has a side."""
    told, named = keypoints.flip_indices, mirrored_indices([name.lower() for name in keypoints.names])
    sided = [index for index, partner in enumerate(named) if partner != index]
    if not sided:
        return [], []
    share = float(np.mean([told[index] != named[index] for index in sided]))
    figures = (share, share, "share", share, 0.0, "wrong ones")
    stage = Stage("keypoints", "flip_indices", "left and right in the names", *figures, ok=share == 0)
    return [stage], [] if stage.ok else [mistake("flip-order", "manifest.json", share)]


def _peaks(heatmaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell of each map's first highest value, and the direction of its higher neighbour: (G, K, 2), x then y."""
    count, keypoints, height, width = heatmaps.shape
    cells, towards = np.zeros((2, count, keypoints, 2))
    for n, k in np.ndindex(count, keypoints):
        one = heatmaps[n, k]
        y, x = np.unravel_index(one.argmax(), one.shape)
        cells[n, k] = x, y
        if 0 < x < width - 1:
            towards[n, k, 0] = np.sign(one[y, x + 1] - one[y, x - 1])
        if 0 < y < height - 1:
            towards[n, k, 1] = np.sign(one[y + 1, x] - one[y - 1, x])
    return cells, towards


def _located(plain: tuple[np.ndarray, np.ndarray], spec: DecodeSpec, shift: float) -> np.ndarray:
    return (plain[0] + shift * plain[1] + 0.5) * spec.stride - 0.5


def _distance(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return np.linalg.norm(one - two, axis=-1)
