"""Times of frames, from sources that may tell nonsense."""

from __future__ import annotations

import math

FALLBACK_FPS = 25.0
FPS_RANGE = (0.1, 480.0)  # beyond it containers tell nonsense: 1000 stands for "unknown" in WebM
LEAP_S = 1.0  # a step longer than what passed meanwhile by this much is a jump of the source's clock
DRIFT_S = 5.0  # a stream hands over as much at once when it is opened; a clock farther off does not run in seconds
LEAST_STEP_S = 1e-3


def sane_fps(fps: float) -> float | None:
    """A frame rate as a container or driver tells it, None where it cannot be true."""
    return fps if math.isfinite(fps) and FPS_RANGE[0] <= fps <= FPS_RANGE[1] else None


def next_timestamp(told_s: float, previous_s: float | None, index: int, fps: float | None) -> float:
    """Seconds of a file's frame since its start: as told if that rises, else index / fps; always after the previous.

    Args:
        told_s: What the container says, counted from its first frame; may be NaN, 0, fall back, or hardly rise.
        previous_s: The previous frame's result, None for the first.
        index: Position of the frame, from 0.
        fps: Frames a second, None if unknown (then 25 is taken).
    """
    if previous_s is None:
        return 0.0
    if math.isfinite(told_s) and told_s > max(previous_s, index / (2 * FPS_RANGE[1])):
        return told_s
    period = 1 / (fps or FALLBACK_FPS)
    return max(index * period, previous_s + period)


class LiveClock:
    """Seconds of a live source's frames since its first: by its own clock while that is sane, else as they arrive.

    Where the source's clock stands still or jumps, the step is what passed meanwhile; once it is 5 s off, it is left.
    """

    def __init__(self) -> None:
        self.timestamp_s = 0.0
        self._told_s = math.nan
        self._now_s = self._first_s = math.nan
        self._trusted = True

    def __call__(self, told_s: float, now_s: float) -> float:
        """Seconds of the next frame.

        Args:
            told_s: What the source says, from any zero; NaN where it says nothing.
            now_s: `time.monotonic()` at which the frame was at hand.
        """
        if math.isnan(self._first_s):
            self._first_s = now_s
        else:
            told, passed = told_s - self._told_s, now_s - self._now_s
            sane = self._trusted and 0 < told < passed + LEAP_S
            self.timestamp_s += told if sane else max(passed, LEAST_STEP_S)
            self._trusted &= abs(self.timestamp_s - (now_s - self._first_s)) < DRIFT_S
        self._told_s, self._now_s = told_s, now_s
        return self.timestamp_s
