"""Video files whose metadata lie: what can be decoded comes, in order, at times that can be."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from hgedge.pose import Frame
from hgedge.sources import open_source, read_ahead

COUNT, FPS = 20, 10.0
ROUNDING_S = 1e-6  # times in float64, from milliseconds
PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """An AVI and an MPEG-4 of 20 grey pictures, 10 levels apart, at 10 frames a second."""
    made = {}
    for name, codec in (("a.avi", "MJPG"), ("a.mp4", "mp4v")):
        path = tmp_path_factory.mktemp("videos") / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), FPS, (64, 48))
        for index in range(COUNT):
            writer.write(np.full((48, 64, 3), 10 * index, np.uint8))
        writer.release()
        made[name] = path.read_bytes()
    return made


def set_at(data: bytes, marker: bytes, offset: int, value: bytes) -> bytes:
    start = data.index(marker) + offset
    return data[:start] + value + data[start + len(value) :]


def read(path: Path, data: bytes) -> tuple[list[Frame], float | None, int | None]:
    """Its frames, and the rate and count that were told beforehand."""
    path.write_bytes(data)
    with read_ahead(open_source(path)) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert [round(float(frame.image.mean()) / 10) for frame in frames] == list(range(len(frames)))
    return frames, source.info.fps, source.info.num_frames


@pytest.mark.parametrize(("scale", "rate"), [(0, 0), (1, 0), (0, 1), (1, 1_000_000)])
def test_rates_that_cannot_be(videos, tmp_path: Path, scale: int, rate: int) -> None:
    frames, fps, _ = read(tmp_path / "a.avi", set_at(videos["a.avi"], b"strh", 28, struct.pack("<II", scale, rate)))
    assert len(frames) == COUNT and fps in (None, FPS)
    steps = np.diff([frame.timestamp_s for frame in frames])
    np.testing.assert_allclose(steps, 1 / (fps or 25), atol=ROUNDING_S)


@pytest.mark.parametrize("count", [0, 19, 1000, 2**31])
def test_counts_that_are_wrong(videos, tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int) -> None:
    told = struct.pack("<I", count)
    data = set_at(set_at(videos["a.avi"], b"avih", 24, told), b"strh", 40, told)
    frames, _, num_frames = read(tmp_path / "a.avi", data)
    assert len(frames) == COUNT and num_frames == (count if 0 < count <= 1000 else None)
    warned = {
        19: ["a.avi has more than its 19 frames; OpenCV may not read all of them"],
        1000: ["a.avi ended after 20 of 1000 frames; the file may be damaged"],
    }
    assert [message.rpartition("/")[2] for message in caplog.messages] == warned.get(count, [])


def test_a_table_that_is_too_short(videos, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames, _, num_frames = read(tmp_path / "a.mp4", set_at(videos["a.mp4"], b"stsz", 12, struct.pack(">I", 5)))
    assert (len(frames), num_frames) == (5, COUNT)
    assert "a.mp4 ended after 5 of 20 frames; the file may be damaged" in caplog.text


@pytest.mark.parametrize("matrix", [[0] * 9, [46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30]], ids=["none", "45"])
def test_turns_that_cannot_be(videos, tmp_path: Path, matrix: list[int]) -> None:
    frames, *_ = read(tmp_path / "a.mp4", set_at(videos["a.mp4"], b"tkhd", 44, struct.pack(">9i", *matrix)))
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * COUNT


def with_times(data: bytes, runs: list[tuple[int, int]]) -> bytes:
    """An MPEG-4, its index at its end, whose table of durations is another; all boxes around it grow."""
    start = data.index(b"stts") - 4
    size = int.from_bytes(data[start : start + 4], "big")
    table = struct.pack(">I4sII", 16 + 8 * len(runs), b"stts", 0, len(runs))
    table += b"".join(struct.pack(">II", *run) for run in runs)
    changed = data[:start] + table + data[start + size :]
    for name in PARENTS:
        at = data.index(name) - 4
        whole = int.from_bytes(data[at : at + 4], "big") + len(table) - size
        changed = changed[:at] + struct.pack(">I", whole) + changed[at + 4 :]
    return changed


def test_a_variable_rate(videos, tmp_path: Path) -> None:
    data = videos["a.mp4"]
    assert data.index(b"mdat") < data.index(b"moov")  # so that nothing that the index points at moves
    scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    runs = [
        (5, scale // 10),
        (5, scale // 50),
        (1, scale * 4 // 5),
        (9, scale // 25),
    ]  # within the 2 s that its edit list has
    frames, *_ = read(tmp_path / "a.mp4", with_times(data, runs))
    durations = list(itertools.chain.from_iterable([ticks / scale] * count for count, ticks in runs))
    expected = np.cumsum([0.0, *durations[:-1]])
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], expected, atol=ROUNDING_S)
