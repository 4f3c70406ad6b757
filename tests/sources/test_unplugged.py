"""A camera that is unplugged: its device and what OpenCV reads from it are made up, all else is real."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from hgedge.errors import BackendUnavailable
from hgedge.sources import camera, open_camera, open_source, read_ahead, reopen

LINUX = "cameras are /dev/videoN on Linux only"


class Plug:
    """/dev/video7, which can be pulled out: the device goes, and reading fails."""

    def __init__(self, folder: Path) -> None:
        self.device = folder / "video7"
        self.counter = itertools.count()
        self.opened: list[Capture] = []
        self.told_ms: float | None = None
        self.device.touch()

    def left_open(self) -> int:
        return sum(capture.is_open for capture in self.opened)


class Capture:
    """Stands for cv2.VideoCapture of that device; gives 200 frames a second, each of a brightness of its own."""

    def __init__(self, plug: Plug) -> None:
        self.plug, self.is_open = plug, plug.device.exists()
        self.number = 0
        plug.opened.append(self)

    def isOpened(self) -> bool:
        return self.is_open

    def read(self) -> tuple[bool, np.ndarray | None]:
        assert self.is_open
        time.sleep(0.005)
        if not self.plug.device.exists():
            return False, None
        self.number = next(self.plug.counter)
        return True, np.full((48, 64, 3), self.number % 256, np.uint8)

    def get(self, what: int) -> float:
        told_ms = 40.0 * self.number if self.plug.told_ms is None else self.plug.told_ms
        return {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_POS_MSEC: told_ms}.get(what, 0.0)

    def set(self, what: int, value: float) -> bool:
        return False

    def release(self) -> None:
        self.is_open = False


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None) -> Iterator[Plug]:
    if not hasattr(cv2, "CAP_V4L2") or not Path("/dev").is_dir():
        pytest.skip(LINUX)
    plug = Plug(tmp_path)
    monkeypatch.setattr(camera, "DEVICES", tmp_path)
    monkeypatch.setattr(camera, "NAMES", tmp_path / "names")
    monkeypatch.setattr(cv2, "VideoCapture", lambda index, reader: Capture(plug))
    yield plug
    assert plug.left_open() == 0


def test_it_comes_back(plug: Plug, readers, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), read_ahead(open_camera(7)) as source:
        assert source.info.frame_wh == (64, 48) and source.info.fps == 30
        frames = [next(source) for _ in range(5)]
        plug.device.unlink()
        threading.Timer(0.6, plug.device.touch).start()
        while len(plug.opened) < 2 or source.state != "live":
            frames.append(next(source))
        frames += [next(source) for _ in range(5)]
        assert plug.left_open() == 1
    indices = [frame.index for frame in frames]
    times = np.array([frame.timestamp_s for frame in frames])
    assert indices == sorted(set(indices)) and np.diff(times).min() > 0
    lost = int(np.argmax(np.diff([frame.captured_s for frame in frames])))
    assert times[lost + 1] - times[lost] >= 0.5
    first, *tries, back = caplog.messages
    assert first.startswith("camera 7 stopped giving pictures after ") and first.endswith("trying again in 0.1 s")
    assert all(f"camera 7 ({plug.device}) is not there; cameras found: none" in one for one in tries)
    assert [one.rpartition("in ")[2] for one in tries] == ["0.2 s", "0.4 s"]
    assert back.startswith("camera 7 is back after 0.") and readers() == []


def test_the_driver_tells_the_time(plug: Plug) -> None:
    with open_camera(7) as source:
        np.testing.assert_allclose([next(source).timestamp_s for _ in range(5)], 0.04 * np.arange(5), atol=1e-9)


def test_without_the_drivers_time_that_of_arrival_is_taken(plug: Plug) -> None:
    plug.told_ms = 0.0
    with open_camera(7) as source:
        frames = [next(source) for _ in range(5)]
    arrived = [frame.captured_s - frames[0].captured_s for frame in frames]
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], arrived, atol=1e-9)


def test_the_first_time_is_an_error_at_once(plug: Plug, caplog: pytest.LogCaptureFixture) -> None:
    plug.device.unlink()
    with pytest.raises(BackendUnavailable, match=r"camera 7 .* is not there"):
        open_source("7")
    assert caplog.messages == []


def test_closing_while_it_is_away(plug: Plug, readers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reopen, "FIRST_WAIT_S", 1000.0)
    with read_ahead(open_camera(7)) as source:
        next(source)
        plug.device.unlink()
        while source.state != "retrying":
            time.sleep(0.01)
        closing = time.monotonic()
    assert readers() == [] and time.monotonic() - closing < 500


def test_without_a_thread_another_one_may_end_the_wait(plug: Plug) -> None:
    with open_camera(7) as source:
        next(source)
        plug.device.unlink()
        threading.Timer(0.3, source.stop).start()
        assert all(frame.index for frame in source)
        assert source.state == "retrying"
