"""The one-euro filter: joints at rest are held still, joints that move are followed at once.

Of a joint x at a step of T seconds after the last, with y as it was given then and g how far it is believed:

    alpha(f) = 1 / (1 + 1 / (2 pi f T))                       a first-order low-pass filter of cutoff f
    s <- s + g alpha(SPEED_CUTOFF_HZ) ((x - y) / T - s)       its velocity
    f  = REST_CUTOFF_HZ + CUTOFF_OF_SPEED max(0, |s| / size - RESTLESS)
    y <- y + g alpha(f) (x - y)

The speed is the length of a vector, so that the result turns with the picture, and counts in sizes of the person, so
that near and far people are smoothed alike. A joint that is believed half goes half as far to where it is seen; one
that is not believed, or is missing, is held where it was. As in the paper, s is taken from the smoothed place, so
that what it lags behind speeds it up; the smoothed joint itself moves at g alpha(f) s.

Source: Casiez, Roussel and Vogel, 1 Euro Filter, CHI 2012. Ours: g, the size, and RESTLESS, the speed that noise alone
makes. At 30 frames a second white noise of 0.5 % of the size, as the default model has on stills, falls to a quarter,
and whatever moves at half a size a second or faster is given less than a frame late.
"""

from __future__ import annotations

import math

import numpy as np

REST_CUTOFF_HZ = 0.4
CUTOFF_OF_SPEED = 8.0  # Hz for each size of the person a second
RESTLESS = 0.15  # sizes a second
SPEED_CUTOFF_HZ = 2.0


class OneEuro:
    """The filter of one person's joints.

    Attributes:
        keypoints: (K, 2) float64, smoothed; NaN where a joint was never there.
        velocity: (K, 2) float64, pixels a second, of the smoothed joints.
    """

    def __init__(self, keypoints: np.ndarray) -> None:
        self.keypoints = keypoints.copy()
        self.velocity = np.zeros(keypoints.shape)
        self._speed = np.zeros(keypoints.shape)

    def step(self, keypoints: np.ndarray, believed: np.ndarray, step_s: float, size_px: float) -> None:
        """Take the joints of the next frame.

        Args:
            keypoints: (K, 2) float64, pixels; NaN where missing.
            believed: (K,) how far each is believed, 0 to 1.
            step_s: Seconds since the last step, above 0.
            size_px: The person's size.
        """
        self.keypoints = np.where(np.isnan(self.keypoints), keypoints, self.keypoints)
        ahead = np.nan_to_num(keypoints - self.keypoints)
        gain = (believed * ~np.isnan(keypoints[:, 0]))[:, None]
        self._speed += gain * _alpha(SPEED_CUTOFF_HZ, step_s) * (ahead / step_s - self._speed)
        excess = np.maximum(np.linalg.norm(self._speed, axis=1, keepdims=True) / size_px - RESTLESS, 0)
        gain = gain * _alpha(REST_CUTOFF_HZ + CUTOFF_OF_SPEED * excess, step_s)
        self.keypoints = self.keypoints + gain * ahead
        self.velocity = gain * self._speed


def _alpha(cutoff_hz: float | np.ndarray, step_s: float) -> float | np.ndarray:
    """How far a low-pass filter goes to its input in a step."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * step_s))
