"""Raw frames, through real pipes, named pipes and files."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hgedge.errors import ConfigError, SourceError
from hgedge.sources import RawFormat, open_source, read_ahead
from hgedge.sources.raw import open_raw

WH = (6, 4)
SIZES = {"bgr": 72, "bgrx": 96, "nv12": 36, "gray": 24}
SHAPES = {"bgr": (4, 6, 3), "bgrx": (4, 6, 4), "nv12": (6, 6), "gray": (4, 6)}


def made(count: int, size: int = 72) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size), np.uint8)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's two ends."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


def write_later(end: int, data: bytes, chunk: int = 1000, pause_s: float = 0.0) -> threading.Thread:
    def write() -> None:
        for start in range(0, len(data), chunk):
            os.write(end, data[start : start + chunk])
            time.sleep(pause_s)
        os.close(end)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


@pytest.mark.parametrize("pixels", SIZES)
def test_frames_as_they_were_written(pipe, pixels: str) -> None:
    data = made(5, SIZES[pixels])
    writing = write_later(pipe[1], data.tobytes(), chunk=7)
    with open_raw(RawFormat(WH, pixels, fps=10), pipe[0]) as source:
        frames = list(source)
    writing.join()
    assert (source.info.kind, source.info.frame_wh, source.info.fps, source.info.live) == ("pipe", WH, 10, False)
    assert all(frame.image.shape == SHAPES[pixels] and frame.pixels == pixels for frame in frames)
    np.testing.assert_array_equal([frame.image.ravel() for frame in frames], data)
    assert [frame.index for frame in frames] == list(range(5))
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], np.arange(5) / 10)


def test_without_a_rate_the_times_are_those_of_arrival(pipe) -> None:
    writing = write_later(pipe[1], made(4).tobytes(), chunk=72, pause_s=0.03)
    with open_raw(RawFormat(WH), pipe[0]) as source:
        frames = list(source)
    writing.join()
    arrived = [frame.captured_s - frames[0].captured_s for frame in frames]
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], arrived, atol=1e-9)
    assert arrived[-1] >= 0.05


def test_a_writer_waits_for_us(pipe, readers) -> None:
    """2 MB a frame: more than a pipe holds, so that nothing is lost though the writer is faster."""
    raw = RawFormat((1000, 700))
    data = np.repeat(np.arange(8, dtype=np.uint8), 2_100_000)
    writing = write_later(pipe[1], data.tobytes(), chunk=1 << 20)
    levels = []
    with read_ahead(open_raw(raw, pipe[0])) as source:
        for frame in source:
            levels.append((int(frame.image.min()), int(frame.image.max())))
            time.sleep(0.01)
    writing.join()
    assert levels == [(level, level) for level in range(8)] and (source.dropped, readers()) == (0, [])


def test_live_frames_are_dropped_for_newer_ones(pipe) -> None:
    writing = write_later(pipe[1], made(100).tobytes(), chunk=72, pause_s=0.002)
    with read_ahead(open_raw(RawFormat(WH, fps=500, live=True), pipe[0])) as source:
        indices = []
        for frame in source:
            indices.append(frame.index)
            np.testing.assert_array_equal(frame.image.ravel(), made(100)[frame.index])
            assert frame.timestamp_s == frame.index / 500
            time.sleep(0.02)
    writing.join()
    assert source.info.live and indices == sorted(set(indices)) and indices[-1] == 99
    assert source.dropped == 100 - len(indices) > 0


@pytest.mark.parametrize("size", [0, 1, 71])
def test_an_end_before_the_first_frame(pipe, size: int) -> None:
    write_later(pipe[1], bytes(size)).join()
    with pytest.raises(SourceError, match=r"ended before a whole frame of 6x4 bgr \(72 bytes\) had come; check what"):
        open_raw(RawFormat(WH), pipe[0])


def test_an_end_within_a_frame_is_told(pipe, caplog: pytest.LogCaptureFixture) -> None:
    write_later(pipe[1], made(3).tobytes()[:-10]).join()
    with open_raw(RawFormat(WH), pipe[0]) as source:
        assert len(list(source)) == 2
    assert caplog.messages == ["standard input ended after 62 bytes of frame 2 of 6x4 bgr (72 bytes); check its size"]


def test_closing_while_the_writer_is_silent(pipe, readers) -> None:
    os.write(pipe[1], bytes(72 + 5))
    with read_ahead(open_raw(RawFormat(WH), pipe[0])) as source:
        next(source)
        time.sleep(0.05)
        assert readers()
    assert readers() == []


def test_a_terminal(pipe) -> None:
    ends = pty.openpty()
    try:
        with pytest.raises(SourceError, match=r"is a terminal; pipe frames of 6x4 bgr \(72 bytes\) into it"):
            open_raw(RawFormat(WH), ends[1])
    finally:
        for end in ends:
            os.close(end)


READ = (
    "from hgedge.sources import RawFormat, open_source, read_ahead\n"
    "from hgedge.errors import SourceError\n"
    "try:\n"
    "    with read_ahead(open_source('-', RawFormat((6, 4)))) as source:\n"
    "        print([int(frame.image.sum()) for frame in source])\n"
    "except SourceError as error: print(error)"
)


def run(program_environment: dict[str, str], closed: bool = False, **stdin: object) -> str:
    command = [sys.executable, "-c", READ]
    if closed:
        command = ["sh", "-c", 'exec "$@" <&-', "sh", *command]
    return subprocess.run(
        command, env=program_environment, capture_output=True, text=True, check=True, **stdin
    ).stdout.strip()


def test_standard_input_of_another_process(program_environment: dict[str, str], tmp_path: Path) -> None:
    """A pipe between processes, a file, and a named pipe."""
    data = made(9)
    expected = str([int(frame.sum()) for frame in data.astype(int)])
    (tmp_path / "raw").write_bytes(data.tobytes())
    os.mkfifo(tmp_path / "fifo")
    with subprocess.Popen(["cat", tmp_path / "raw"], stdout=subprocess.PIPE) as writer:
        assert run(program_environment, stdin=writer.stdout) == expected
    with open(tmp_path / "raw", "rb") as file:
        assert run(program_environment, stdin=file) == expected
    with subprocess.Popen(["cp", tmp_path / "raw", tmp_path / "fifo"]), open(tmp_path / "fifo", "rb") as fifo:
        assert run(program_environment, stdin=fifo) == expected


def test_standard_input_that_is_closed(program_environment: dict[str, str]) -> None:
    said = run(program_environment, closed=True)
    assert said == "standard input cannot be read: Bad file descriptor"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"frame_wh": (0, 4)}, "raw frames must be 1 to 32768 pixels wide and high, but got 0x4"),
        ({"frame_wh": (4, 40_000)}, "raw frames must be 1 to 32768 pixels wide and high, but got 4x40000"),
        ({"pixels": "rgb"}, "pixels of raw frames must be bgr, bgrx, nv12, gray, but got 'rgb'"),
        ({"frame_wh": (6, 5), "pixels": "nv12"}, "raw NV12 frames must have even sizes, but got 6x5"),
        ({"fps": 0.0}, "frames a second of raw frames must be above 0, but got 0.0"),
        ({"fps": float("nan")}, "frames a second of raw frames must be above 0, but got nan"),
    ],
)
def test_formats_that_cannot_be(words: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        RawFormat(**{"frame_wh": WH, **words})
    assert str(raised.value) == said


def test_what_belongs_together() -> None:
    with pytest.raises(ConfigError, match=r"do not tell their size; give it, as RawFormat\(\(1280, 720\)\)"):
        open_source("-")
    with pytest.raises(ConfigError, match="read from standard input, '-', but the source is a.mp4"):
        open_source("a.mp4", RawFormat(WH))
