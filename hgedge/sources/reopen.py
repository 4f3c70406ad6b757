"""Live sources that come back: a camera that was unplugged, a stream that stalled or was cut."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Generator

from hgedge.errors import BackendUnavailable, SourceError
from hgedge.pose import Frame
from hgedge.sources.clock import LEAST_STEP_S
from hgedge.sources.source import Source, Status

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0  # before a try, doubled from each to the next
NAP_S = 0.05  # how late a stop is noticed


def reopened(source: Source, again: Callable[[], Source], name: str) -> Source:
    """A live source that is opened again whenever it fails, until it is closed.

    Frames are counted on, and their times go on by the time that was lost.

    Args:
        source: Open.
        again: Opens it once more; fails with SourceError or BackendUnavailable.
        name: What messages call it.
    """
    reopening = _Reopening(source, again, name)
    return Source(source.info, reopening.frames(), reopening.close, reopening.status)


class _Reopening:
    """A source, and then the one that takes its place."""

    def __init__(self, source: Source, again: Callable[[], Source], name: str) -> None:
        self.source = source
        self.again = again
        self.name = name
        self.status = Status()

    def close(self) -> None:
        """Close the source at hand."""
        self.source.close()

    def frames(self) -> Generator[Frame, None, None]:
        """Frames of one source after the other."""
        index, timestamp_s, first_s = 0, 0.0, None
        while not self.status.stopped:
            lost: object = f"{self.name} ended"
            shift_s = None
            try:
                for frame in self.source:
                    if first_s is None:
                        first_s = frame.captured_s
                    if shift_s is None:
                        earliest_s = timestamp_s + LEAST_STEP_S if index else 0.0
                        shift_s = max(frame.captured_s - first_s, earliest_s) - frame.timestamp_s
                    timestamp_s = frame.timestamp_s + shift_s
                    yield dataclasses.replace(frame, index=index, timestamp_s=timestamp_s)
                    index += 1
            except (SourceError, BackendUnavailable) as error:
                lost = error
            self.source.close()
            self._open_again(lost)

    def _open_again(self, lost: object) -> None:
        """Try until it is open, or until nobody wants it."""
        self.status.retrying = True
        wait_s, lost_s = FIRST_WAIT_S, time.monotonic()
        while self._waited(wait_s, lost):
            try:
                self.source = self.again()
            except (SourceError, BackendUnavailable) as error:
                lost, wait_s = error, min(2 * wait_s, LONGEST_WAIT_S)
            else:
                log.warning("%s is back after %.1f s", self.name, time.monotonic() - lost_s)
                self.status.retrying = False
                return

    def _waited(self, wait_s: float, lost: object) -> bool:
        """Say why and for how long, and wait; whether frames are still wanted then."""
        if not self.status.stopped:
            log.warning("%s; trying again in %g s", lost, wait_s)
        until_s = time.monotonic() + wait_s
        while not self.status.stopped and time.monotonic() < until_s:
            time.sleep(NAP_S)
        return not self.status.stopped
