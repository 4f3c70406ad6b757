"""The newest picture, for any number of viewers; everything here belongs to the server's event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from hgedge.preview.painter import Picture

POLL_S = 0.01


class Feed:
    """Hands each viewer the newest picture when it is ready for one; nobody has a queue.

    Args:
        want: Asks the painter for another picture.
    """

    def __init__(self, want: Callable[[], None]) -> None:
        self.picture: Picture | None = None
        self.viewers = 0
        self.ended = False
        self._want = want
        self._woken = asyncio.Event()

    def put(self, picture: Picture) -> None:
        """Take a picture in place of the one before."""
        self.picture = picture
        self.wake()

    def end(self) -> None:
        """No more pictures will come."""
        self.ended = True
        self.wake()

    def wake(self) -> None:
        """Have everyone who waits look again."""
        self._woken.set()
        self._woken = asyncio.Event()

    async def after(self, number: int, gone: Callable[[], bool] = lambda: False) -> Picture | None:
        """Wait for a picture that is newer than one's last.

        Args:
            number: Of the last.
            gone: Whether nobody waits any more.

        Returns:
            The newest picture; None if no more come or nobody waits.
        """
        while not gone():
            if self.picture is not None and self.picture.number > number:
                return self.picture
            if self.ended:
                break
            woken = self._woken
            self._want()
            await woken.wait()
        return None

    async def over(self, goodbye_s: float) -> None:
        """Wait for the end, and then for viewers to have heard of it, but no longer than so many seconds."""
        while not self.ended:
            await self._woken.wait()
        deadline_s = time.monotonic() + goodbye_s
        while self.viewers and time.monotonic() < deadline_s:
            await asyncio.sleep(POLL_S)
