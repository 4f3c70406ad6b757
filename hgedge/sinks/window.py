"""A window on the screen."""

from __future__ import annotations

import os
import sys

import numpy as np

from hgedge.errors import BackendUnavailable
from hgedge.sources.opencv import cv2

CLOSING_KEYS = (ord("q"), 27)  # 27 is Escape


def has_display() -> bool:
    """Whether there is a screen to open a window on."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class WindowSink:
    """Shows the latest picture.

    Attributes:
        closed: The user closed it, or pressed q or Escape in it.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.closed = False
        self._open = False

    def write(self, image: np.ndarray, name: str = "") -> None:
        """Show a picture.

        Raises:
            BackendUnavailable: OpenCV was built without windows.
        """
        try:
            cv2.imshow(self.title, image)
            self._open = True
            key = cv2.waitKey(1) & 0xFF
            visible = cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error as error:
            raise BackendUnavailable(f"OpenCV cannot open a window here ({error.err}); use --no-window") from error
        self.closed = key in CLOSING_KEYS or not visible

    def __enter__(self) -> WindowSink:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._open and not self.closed:
            cv2.destroyWindow(self.title)
