"""Reading in a thread of its own, so that frames are at hand when they are wanted, and live ones are new."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator

from hgedge.pose import Frame
from hgedge.sources.source import Source

AHEAD = 3  # frames of a file that were read and not taken


def read_ahead(source: Source) -> Source:
    """The same frames, read by a thread that starts at once.

    Of a live source only the newest frame waits to be taken; what it takes the place of is counted as `dropped`, and
    `Frame.index` shows the gap. Of all others every frame comes, in order, with at most 3 read ahead. An error of the
    reader is raised after the frames that came before it. Closing ends the thread: it waits for a read that has begun,
    which cameras and streams bound (`hgedge.sources.opencv.READ_TIMEOUT_MS`).

    Args:
        source: Open; it is closed by closing the result.
    """
    reader = _Reader(source)
    return Source(source.info, reader.frames(), reader.end, source.status, reader.stop)


class _Reader:
    """The thread; SimpleQueue alone may be put to by a signal handler that interrupted a get of the same thread."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.status = source.status
        self.ready: queue.SimpleQueue[Frame | BaseException | None] = queue.SimpleQueue()  # None is the end
        self.room: queue.SimpleQueue[None] = queue.SimpleQueue()  # an item a frame that `ready` has room for
        for _ in range(AHEAD - 1):  # and the one that waits for room
            self.room.put(None)
        self.thread = threading.Thread(target=self._read, name=f"hgedge {source.info.kind} reader", daemon=True)
        self.thread.start()

    def frames(self) -> Generator[Frame, None, None]:
        """What the thread read, for the thread that takes it."""
        try:
            while not self.status.stopped:
                item = self.ready.get()
                if item is None or self.status.stopped:
                    return
                if isinstance(item, BaseException):
                    raise item
                self.room.put(None)
                yield item
        finally:
            self.stop()

    def stop(self) -> None:
        """End both threads' waits for one another."""
        self.status.stopped = True
        self.ready.put(None)
        self.room.put(None)

    def end(self) -> None:
        """Wait until the thread has closed the source and ended."""
        self.stop()
        self.thread.join()

    def _read(self) -> None:
        ended: BaseException | None = None
        try:
            with self.source:
                for frame in self.source:
                    self._give(frame)
                    if self.status.stopped:
                        break
        except BaseException as error:
            ended = error
        self.ready.put(ended)

    def _give(self, frame: Frame) -> None:
        """Let a frame be taken: in place of one that nobody took, or once there is room for it."""
        self.status.seen_s = frame.captured_s
        if self.source.info.live:
            try:
                self.status.dropped += self.ready.get_nowait() is not None
            except queue.Empty:
                pass
        else:
            self.room.get()
        self.ready.put(frame)
