"""How near is near enough.

Two engines of one graph differ by what rounding does. In a float graph that is some units of the type's roundoff. An
INT8 graph is not continuous (hgedge/DESIGN.md): a value between two steps is decided by rounding, and what comes after
moves. Nothing about a network says by how much, but the engine itself does: run it on input moved by 0.06 grey levels,
and it differs from itself as far as any right engine of its graph differs from it. So

    limit = SPREAD * (the engine from itself, so moved) + ROUNDOFFS * roundoff        of the heatmaps' relative RMSE

On the default model OpenVINO lies 0.7 (`conv`) and 0.9 (`stream`) times as far from ONNX Runtime as that from itself
(benchmarks/bench_parity.py).
"""

from __future__ import annotations

import numpy as np

from hgedge.backends.base import Session

SPREAD = 1.5  # two distances of the same kind differ by up to 13 % on 60 pictures (tests/backends); there are but four
ROUNDOFFS = 16  # twice the most that was measured
ROUNDOFF = {"fp32": 2.0**-24, "int8": 2.0**-24, "fp16": 2.0**-11, "bf16": 2.0**-8}
SAME_GRAPH = 1e-3  # FP32 in two libraries; a mistake that moves heatmaps by less moves no keypoint
MOVED = 1 / 256  # share of values that are moved by one level: 0.06 grey levels in the root mean square
DRAWS = 3
EXPLAINED = 1 / 3  # of the difference may stay where a mistake is its reason; of a wrong guess at least 0.43 does


def relative_rmse(found: np.ndarray, expected: np.ndarray) -> float:
    """Root mean square of the difference of heatmaps (G, K, h, w) over that of what was expected.

    Of the latter each keypoint's mean is taken off first: a floor that maps stand on tells nothing.
    """
    wanted = expected.astype(np.float64)
    power = np.mean((wanted - wanted.mean(axis=(0, 2, 3), keepdims=True)) ** 2)
    return float(np.sqrt(np.mean((found - wanted) ** 2) / max(power, np.finfo(np.float32).tiny)))


def run(session: Session, crops: np.ndarray) -> np.ndarray:
    """Heatmaps of each crop by itself, (G, K, h, w) float32."""
    return np.concatenate([np.array(session.run(crop[None])) for crop in crops])


def moved(crops: np.ndarray, seed: int) -> np.ndarray:
    """Crops in which one value in 256 is one grey level higher or lower."""
    drawn = np.random.default_rng(seed).random(crops.shape)
    step = (drawn < MOVED / 2).astype(np.int16) - (drawn > 1 - MOVED / 2)
    return np.clip(crops + step, 0, 255).astype(np.uint8)


def limit(session: Session, crops: np.ndarray, heatmaps: np.ndarray, precision: str) -> float:
    """The relative RMSE up to which heatmaps are those of the same network in the same graph.

    Args:
        session: The engine.
        crops: (G, H, W, C) uint8.
        heatmaps: What the engine makes of them.
        precision: Of the engine.
    """
    own = max(relative_rmse(run(session, moved(crops, seed)), heatmaps) for seed in range(DRAWS))
    return SPREAD * own + ROUNDOFFS * ROUNDOFF[precision]
