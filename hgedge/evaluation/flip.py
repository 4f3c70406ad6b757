"""Flip test: predict on a crop and on its mirror image, and take the mean of both maps.

Pixel u of a crop of width W is pixel W - 1 - u of its mirror image. Cell i of a map of stride s and width w = W / s
lies at (i + 0.5) s - 0.5, which is pixel W - 1 - ((i + 0.5) s - 0.5) = (w - 1 - i + 0.5) s - 0.5 of the mirror image:
cell w - 1 - i exactly. No shift of the mirrored map is called for.
"""

from __future__ import annotations

import numpy as np

from hgedge.backends.base import Session


class FlipTest:
    """A session that runs every crop together with its mirror image, in one batch.

    Args:
        session: What runs them; takes batches of any size.
        flip_indices: `flip_indices[i]` is the keypoint that i becomes in a mirrored picture.
    """

    def __init__(self, session: Session, flip_indices: tuple[int, ...]) -> None:
        self.session = session
        self.flip_indices = list(flip_indices)

    def run(self, crops: np.ndarray) -> np.ndarray:
        """Predict heatmaps; see `hgedge.backends.base.Session`."""
        both = self.session.run(np.concatenate([crops, crops[:, :, ::-1]]))
        straight, mirrored = both[: len(crops)], both[len(crops) :]
        return (straight + unmirror(mirrored, self.flip_indices)) / 2

    def close(self) -> None:
        """Free the engine."""
        self.session.close()


def unmirror(heatmaps: np.ndarray, flip_indices: list[int]) -> np.ndarray:
    """Maps (N, K, h, w) of mirror images as maps of the pictures: turned back, left and right joints exchanged."""
    return heatmaps[:, flip_indices, :, ::-1]
