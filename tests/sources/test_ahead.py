"""Frames through a thread: order, what is dropped, errors, and how it ends."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator

import numpy as np
import pytest

from hgedge.errors import SourceError
from hgedge.pose import Frame
from hgedge.sources import Source, SourceInfo, read_ahead
from hgedge.sources import source as source_module

FILE, LIVE = SourceInfo("video", num_frames=1000), SourceInfo("camera")
IMAGE = np.zeros((2, 2, 3), np.uint8)


def frame(index: int) -> Frame:
    return Frame(IMAGE, index, index / 100, time.monotonic(), 0.0)


class Made:
    """A source of a test's own frames, which notes how far it was read and that it was closed."""

    def __init__(self, count: int, info: SourceInfo = FILE, fps: float = 1e9, fails: bool = False) -> None:
        self.count, self.period, self.fails = count, 1 / fps, fails
        self.read, self.closed_by = 0, ""
        self.go = threading.Event()
        self.source = Source(info, self._frames(), self._close)

    def _frames(self) -> Generator[Frame, None, None]:
        started = time.monotonic()
        for index in range(self.count):
            time.sleep(max(0.0, started + index * self.period - time.monotonic()))
            self.read += 1
            yield frame(index)
        if self.fails:
            raise SourceError("the disk is gone")

    def _close(self) -> None:
        self.closed_by = threading.current_thread().name


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds; a test that waits in vain is ended by its runner."""
    while not condition():
        time.sleep(0.005)


def test_every_frame_of_a_file_in_order(readers) -> None:
    made = Made(200)
    with read_ahead(made.source) as source:
        assert source.info is FILE and source.state == "live"
        assert [taken.index for taken in source] == list(range(200))
        assert list(source) == []
    assert (source.dropped, made.closed_by, readers()) == (0, "hgedge video reader", [])


def test_a_file_is_read_three_frames_ahead_and_no_more() -> None:
    made = Made(50)
    with read_ahead(made.source) as source:
        for read in range(3, 7):
            wait_for(lambda least=read: made.read >= least)
            time.sleep(0.02)
            assert made.read == read
            assert next(source).index == read - 3


@pytest.mark.parametrize("info", [FILE, LIVE])
def test_an_error_comes_after_the_frames_before_it(info: SourceInfo, readers) -> None:
    made, indices = Made(7, info, fps=100, fails=True), []
    with pytest.raises(SourceError, match="the disk is gone"), read_ahead(made.source) as source:
        for taken in source:
            indices.append(taken.index)
    assert indices[-1] == 6 and (info is LIVE or indices == list(range(7)))
    assert readers() == [] and list(source) == []


def test_an_error_waits_for_a_frame_that_nobody_took(readers) -> None:
    made = Made(3, LIVE, fails=True)
    with read_ahead(made.source) as source:
        wait_for(lambda: not readers())
        assert next(source).index == 2
        with pytest.raises(SourceError):
            next(source)
    assert source.dropped == 2


def test_only_the_newest_frame_of_a_live_source() -> None:
    """100 frames a second, taken 20 times a second: without dropping, the last would be 0.8 s old."""
    made, taken, ages = Made(10**6, LIVE, fps=100), [], []
    with read_ahead(made.source) as source:
        for one in source:
            ages.append(time.monotonic() - one.captured_s)
            taken.append(one.index)
            time.sleep(0.05)
            if len(taken) == 20:
                break
        read, dropped = made.read, source.dropped
    assert taken == sorted(set(taken)) and taken[-1] >= 60
    assert np.median(np.diff(taken)) >= 3
    assert max(ages[-10:]) < 0.4
    assert taken[-1] + 1 - len(taken) <= dropped <= read - len(taken)


def test_a_consumer_that_is_fast_enough_gets_every_frame() -> None:
    made = Made(60, LIVE, fps=100)
    with read_ahead(made.source) as source:
        count = len(list(source))
    assert count + source.dropped == 60 and count >= 6


@pytest.mark.parametrize("info", [FILE, LIVE])
@pytest.mark.parametrize("taken", [0, 1, 5])
def test_closing_ends_the_thread(info: SourceInfo, taken: int, readers) -> None:
    made = Made(10**6, info, fps=500)
    with read_ahead(made.source) as source:
        for _ in range(taken):
            next(source)
        assert readers() == [f"hgedge {info.kind} reader"]
    assert readers() == [] and made.closed_by and list(source) == []
    source.close()


def blocked() -> tuple[Source, threading.Event]:
    """A live source that gives one frame, and the next only when it is let go."""
    go = threading.Event()

    def frames() -> Generator[Frame, None, None]:
        yield frame(0)
        go.wait()
        yield frame(1)

    return Source(LIVE, frames()), go


def test_closing_waits_for_a_read_that_has_begun(readers) -> None:
    inner, go = blocked()
    source = read_ahead(inner)
    next(source)
    threading.Timer(0.2, go.set).start()
    source.close()
    assert go.is_set() and readers() == []


def test_another_thread_may_stop_it(readers) -> None:
    inner, go = blocked()
    with read_ahead(inner) as source:
        threading.Timer(0.1, source.stop).start()
        assert [taken.index for taken in source] == [0]  # though the reader is still at it
        assert not go.is_set() and readers()
        go.set()
    assert readers() == []


def interrupt_soon() -> None:
    threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()


@pytest.mark.parametrize("info", [FILE, LIVE])
def test_ctrl_c_leaves_no_thread(info: SourceInfo, readers) -> None:
    made = Made(10**6, info, fps=5)
    with pytest.raises(KeyboardInterrupt), read_ahead(made.source) as source:
        interrupt_soon()
        for _ in source:
            pass
    assert readers() == [] and made.closed_by


def test_a_signal_handler_may_stop_it(readers) -> None:
    inner, go = blocked()
    before = signal.signal(signal.SIGINT, lambda number, where: source.stop())
    try:
        with read_ahead(inner) as source:
            interrupt_soon()
            assert [taken.index for taken in source] == [0]
            go.set()
    finally:
        signal.signal(signal.SIGINT, before)
    assert readers() == []


def test_frames_that_nobody_iterates_any_more_end_the_thread(readers) -> None:
    made = Made(10**6, LIVE, fps=500)
    for _ in read_ahead(made.source):
        break
    wait_for(lambda: not readers())
    assert made.closed_by


def test_state(monkeypatch: pytest.MonkeyPatch) -> None:
    assert source_module.STALLED_S == 2
    monkeypatch.setattr(source_module, "STALLED_S", 0.2)
    inner, go = blocked()
    with read_ahead(inner) as source:
        next(source)
        states = [source.state]
        wait_for(lambda: source.state == "stalled")
        source.status.retrying = True
        states.append(source.state)
        source.status.retrying = False
        go.set()
        next(source)
        states.append(source.state)
    assert states == ["live", "retrying", "live"]


def test_files_and_what_is_read_without_a_thread_never_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "STALLED_S", 0.0)
    with read_ahead(Made(3).source) as source, Made(3, LIVE).source as plain:
        next(source), next(plain)
        assert source.state == plain.state == "live"
