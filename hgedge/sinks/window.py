"""A window on the screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from hgedge.errors import BackendUnavailable
from hgedge.sources.opencv import cv2

CLOSING_KEYS = (ord("q"), 27)  # 27 is Escape
NO_KEY = 255


def has_display() -> bool:
    """Whether there is a screen to open a window on."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class WindowSink:
    """Shows the latest picture; for the main thread alone.

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
        with _no_windows():
            cv2.imshow(self.title, image)
        self._open = True
        self.listen()

    def listen(self) -> None:
        """Hear what the user did with the window; it stands still for them where nobody calls this for long."""
        if self._open and not self.closed:
            with _no_windows():
                key = cv2.waitKey(1) & NO_KEY
                visible = cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) >= 1
            self.closed = key in CLOSING_KEYS or not visible

    def __enter__(self) -> WindowSink:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._open and not self.closed:
            cv2.destroyWindow(self.title)


@contextmanager
def _no_windows() -> Iterator[None]:
    try:
        yield
    except cv2.error as error:
        raise BackendUnavailable(f"OpenCV cannot show a window here ({error.err}); use --no-window") from error
