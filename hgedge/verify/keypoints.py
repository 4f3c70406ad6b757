"""The last stage: heatmaps to keypoints, against a plain loop after the contract; and left and right in the names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hgedge.datasets.mirror import mirrored_indices
from hgedge.pose import KeypointSet
from hgedge.spec import DecodeSpec
from hgedge.verify.dark import dark_step
from hgedge.verify.mistakes import mistake
from hgedge.verify.report import Mistake, Stage

EXACT_PX = 0.01  # float32 tells pixels of the largest input apart to 0.0005, and cells that DARK finds to 1e-4
Decoder = Callable[[np.ndarray], np.ndarray]
Found = tuple[list[Stage], list[Mistake]]


@dataclass(frozen=True)
class Peaks:
    """The peaks of (G, K, h, w) heatmaps, in cells, x then y.

    Attributes:
        cells: (G, K, 2) of each map's first highest value.
        towards: (G, K, 2) direction of its higher neighbours, of -1, 0 and 1.
        dark: (G, K, 2) DARK's step.
        settled: (G, K) bool; False where rounding to float32 decides whether there is such a step.
    """

    cells: np.ndarray
    towards: np.ndarray
    dark: np.ndarray
    settled: np.ndarray

    def located(self, spec: DecodeSpec) -> np.ndarray:
        """Keypoints, (G, K, 2) in input pixels."""
        return self.moved(self.dark if spec.refinement == "dark" else spec.shift * self.towards, spec)

    def moved(self, steps: np.ndarray, spec: DecodeSpec) -> np.ndarray:
        """The cells after other steps, (G, K, 2) in input pixels."""
        return (self.cells + steps + 0.5) * spec.stride - 0.5


def decoding(decoder: Decoder, heatmaps: np.ndarray, spec: DecodeSpec) -> Found:
    """This machine's decoding of the engine's heatmaps; where rounding decides about DARK's step, it is not judged.

    Args:
        decoder: (G, K, h, w) heatmaps -> (G, K, 2) keypoints in input pixels.
        heatmaps: (G, K, h, w) float32.
        spec: How they become keypoints.
    """
    found, plain = decoder(heatmaps), _peaks(heatmaps)

    def farthest(other: np.ndarray, refinement: str) -> float:
        return float(_distance(found, other).max(where=plain.settled | (refinement != "dark"), initial=0))

    expected = plain.located(spec)
    gap, value = _distance(found, expected), farthest(expected, spec.refinement)
    figures = (float(gap.max()), float(gap.mean()), "px", value, EXACT_PX, "largest distance")
    stage = Stage("keypoints", "this machine's decoding", "plain decoding", *figures, ok=value <= EXACT_PX)
    if stage.ok:
        return [stage], []
    tried = [(farthest(other, refinement), name) for name, other, refinement in _mistaken(plain, spec)]
    after, name = min(tried)
    named = mistake(name, "this machine", value, after) if after <= EXACT_PX else None
    return [stage], [named or mistake("unknown", "this machine", value)]


def _mistaken(plain: Peaks, spec: DecodeSpec) -> Iterator[tuple[str, np.ndarray, str]]:
    """Mistakes by name, the keypoints that each gives, (G, K, 2) in input pixels, and how they are refined."""
    for pixels in (0.5 - spec.stride / 2, 0.5, -spec.stride / 2):
        yield "half-pixel", plain.located(spec) + pixels, spec.refinement
    shift = "quarter-shift" if spec.refinement == "quarter" else "wrong-refinement"
    for cells in (0.0, 0.25, 0.5, -spec.shift):
        yield shift, plain.moved(cells * plain.towards, spec), "quarter"
    yield "wrong-refinement", plain.moved(plain.dark, spec), "dark"


def agreement(engine: np.ndarray, fp32: np.ndarray, spec: DecodeSpec) -> Stage:
    """How far the engine's keypoints lie from FP32's: told, not judged, as an INT8 engine may take another peak."""
    gap = _distance(*(_peaks(maps).located(spec) for maps in (engine, fp32)))
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


def _peaks(heatmaps: np.ndarray) -> Peaks:
    count, keypoints, height, width = heatmaps.shape
    cells, towards, dark = np.zeros((3, count, keypoints, 2))
    settled = np.ones((count, keypoints), bool)
    for n, k in np.ndindex(count, keypoints):
        one = heatmaps[n, k]
        y, x = map(int, np.unravel_index(one.argmax(), one.shape))
        cells[n, k] = x, y
        if 0 < x < width - 1:
            towards[n, k, 0] = np.sign(one[y, x + 1] - one[y, x - 1])
        if 0 < y < height - 1:
            towards[n, k, 1] = np.sign(one[y + 1, x] - one[y - 1, x])
        dark[n, k], settled[n, k] = dark_step(one, x, y)
    return Peaks(cells, towards, dark, settled)


def _distance(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return np.linalg.norm(one - two, axis=-1)
