"""What every backend offers.

A backend is a folder with two modules: `build` makes an engine's files, `session` runs them. `device`, `render` and
`why_not_here` are for those that need them.

    build.UNSIGNED_AFTER_RELU                                   whether its INT8 graphs are rendered so
    build.version() -> str                                      of the library; BackendUnavailable where it is absent
    build.check(precision, device)                              BackendUnavailable where this machine lacks it
    build.build(folder, manifest, checkpoint, progress) -> None writes the engine's files; tells `progress` if it can
    build.device() -> DeviceInfo                                that engines are for; by default this machine's CPU
    build.render(graph, precision, keep_fp32) -> graph          that the engine is built from; by default as it is
    build.HALF                                                  precisions that are rendered with FP16; by default none
    build.why_not_here() -> str                                 where engines are built but cannot run on this machine
    session.load(folder, manifest) -> Session                   from a folder whose hashes hold
"""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Session(Protocol):
    """An engine, loaded and runnable; one caller at a time."""

    def run(self, crops: np.ndarray) -> np.ndarray:
        """Predict heatmaps.

        Args:
            crops: (N, H, W, C) uint8, BGR or grey; N of any size. Normalisation is the engine's part.

        Returns:
            (N, K, h, w) float32 of the last stack; may be overwritten by the next call.
        """
        ...

    def close(self) -> None:
        """Free the engine."""
        ...
