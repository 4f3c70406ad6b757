"""A generator that runs in a thread of its own, a little ahead of whoever takes what it makes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class _End:
    """No more items come."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Worker(Generic[T]):
    """Within the block a thread runs the generator; leaving it waits for the item at hand and closes the generator.

    Args:
        items: Used by that thread alone.
        ahead: Items that may be made and not taken; the thread begins none that there is no room for.
        wake: Called on leaving the block; ends a wait of the generator's.
    """

    def __init__(self, items: Generator[T, None, None], ahead: int, wake: Callable[[], None]) -> None:
        self._items, self._wake = items, wake
        self._room = threading.Semaphore(ahead)
        self._ready: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="hgedge worker", daemon=True)

    def taken(self, idle_s: float) -> Iterator[T | None]:
        """Items as they come; None whenever none came for so many seconds.

        Raises:
            Exception: What the generator raised, after the items before it.
        """
        while True:
            try:
                item = self._ready.get(timeout=idle_s)
            except queue.Empty:
                yield None
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            self._room.release()
            yield item

    def __enter__(self) -> Worker[T]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        self._wake()
        self._room.release()
        self._thread.join()

    def _work(self) -> None:
        error = None
        try:
            self._make()
        except BaseException as raised:
            error = raised
        self._ready.put(_End(error))

    def _make(self) -> None:
        try:
            self._room.acquire()
            for item in self._items:
                self._ready.put(item)
                self._room.acquire()
                if self._stopped:
                    return
        finally:
            self._items.close()
