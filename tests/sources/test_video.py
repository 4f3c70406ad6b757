from __future__ import annotations

import itertools
import logging
import math
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from hgedge.errors import SourceError
from hgedge.sources import SourceInfo, open_source
from hgedge.sources.clock import next_timestamp, sane_fps

VIDEOS = Path(__file__).parents[2].parent / "shared" / "data" / "videos"
ROUNDING_S = 1e-6  # times in float64, from milliseconds
COLOR_ERROR = 12  # grey levels that lossy coding of one flat colour may lose


def write_video(path: Path, count: int, fps: float = 10, codec: str = "mp4v") -> Path:
    """A 64 x 48 video whose frame i is grey of level 10 i."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (64, 48))
    for index in range(count):
        writer.write(np.full((48, 64, 3), 10 * index, np.uint8))
    writer.release()
    return path


def boxes(data: bytes, path: tuple[bytes, ...]) -> Iterator[bytes]:
    """The contents of all MPEG-4 boxes at a path such as moov, trak."""
    position = 0
    while path and position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if kind == path[0]:
            inner = data[position + 8 : position + size]
            yield from boxes(inner, path[1:]) if len(path) > 1 else (inner,)
        position += max(size, 8)


def times_told_by_container(path: Path) -> list[float]:
    """Decoding times of the video track, from mdhd (time scale) and stts (runs of equal durations)."""
    for track in boxes(path.read_bytes(), (b"moov", b"trak")):
        (handler,) = boxes(track, (b"mdia", b"hdlr"))
        if handler[8:12] != b"vide":
            continue
        (header,) = boxes(track, (b"mdia", b"mdhd"))
        scale = struct.unpack_from(">I", header, 12 if header[0] == 0 else 20)[0]
        (table,) = boxes(track, (b"mdia", b"minf", b"stbl", b"stts"))
        runs = [struct.unpack_from(">II", table, 8 + 8 * i) for i in range(struct.unpack_from(">I", table, 4)[0])]
        durations = [delta for count, delta in runs for _ in range(count)]
        return [float(time) / scale for time in np.cumsum([0, *durations[:-1]])]
    raise AssertionError("no video track")


@pytest.mark.parametrize(
    ("name", "count", "fps", "frame_wh"),
    [("juggle_247f.mp4", 247, 24.0, (1280, 720)), ("street_walk_5f.mp4", 5, 5.0, None)],
)
def test_real_videos_give_every_frame_at_its_time(
    name: str, count: int, fps: float, frame_wh: tuple[int, int] | None
) -> None:
    path = VIDEOS / name
    if not path.is_file():
        pytest.skip(f"needs the video {path}")
    expected = times_told_by_container(path)
    assert len(expected) == count
    times, sums = [], []
    with open_source(path) as source:
        info = source.info
        for frame in source:
            assert frame.index == len(times) and frame.image.shape[1::-1] == info.frame_wh and frame.name == ""
            times.append(frame.timestamp_s)
            sums.append(int(frame.image[::16, ::16].sum()))
    assert (info.kind, info.fps, info.num_frames, info.path, info.live) == ("video", fps, count, path, False)
    assert frame_wh in (None, info.frame_wh)
    np.testing.assert_allclose(times, expected, atol=ROUNDING_S)
    capture, reference = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        reference.append(int(read[1][::16, ::16].sum()))
    assert sums == reference


def test_made_video_is_read_frame_by_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "named_like_a.jpg.mp4", 7, fps=12.5).rename(tmp_path / "a.jpg")
    with open_source(str(path)) as source:
        frames = list(source)
    assert source.info == SourceInfo("video", (64, 48), 12.5, 7, path)
    levels = [float(frame.image.mean()) for frame in frames]
    assert len(frames) == 7 and all(abs(level - 10 * i) <= COLOR_ERROR for i, level in enumerate(levels))
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], np.arange(7) / 12.5, atol=ROUNDING_S)
    assert all(a.captured_s <= b.captured_s for a, b in itertools.pairwise(frames))


def test_orientation_in_the_container_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    top_white = np.zeros((48, 64, 3), np.uint8)
    top_white[:24] = 255
    for _ in range(3):
        writer.write(top_white)
    writer.release()
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # clockwise
    path.write_bytes(data)
    with open_source(path) as source:
        frame = next(source)
        assert source.info.frame_wh == (48, 64) and frame.image.shape == (64, 48, 3)
    assert frame.image[:, 30:].mean() > 250 and frame.image[:, :18].mean() < 5  # what was the top is right now


def test_cut_avi_gives_what_it_has_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, rng = tmp_path / "a.avi", np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(20):
        writer.write(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING), open_source(path) as source:
        count = len(list(source))
    assert 0 < count < 20
    assert f"a.avi ended after {count} of 20 frames; the file may be damaged" in caplog.text


def test_gif_is_a_video(tmp_path: Path) -> None:
    dot = b"GIF89a\1\0\1\0\x80\0\0\xff\xff\xff\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
    (tmp_path / "a.gif").write_bytes(dot)
    with open_source(tmp_path / "a.gif") as source:
        assert source.info.kind == "video" and len(list(source)) == 1


def test_left_source_gives_no_more_frames(tmp_path: Path) -> None:
    with open_source(write_video(tmp_path / "a.mp4", 5)) as source:
        next(source)
    assert list(source) == []
    with open_source(tmp_path / "a.mp4") as unread:
        pass
    assert list(unread) == []


def _cut(tmp_path: Path) -> bytes:
    path = write_video(tmp_path / "whole.mp4", 5)
    return path.read_bytes()[: path.stat().st_size // 2]


def _without_frames(tmp_path: Path) -> bytes:
    return write_video(tmp_path / "none.avi", 0, codec="MJPG").read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        lambda _: np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes(),
        lambda _: b"words " * 100,
        lambda _: b"\0" * 1000,
        _cut,
        _without_frames,
    ],
    ids=["random", "words", "zeros", "cut", "without frames"],
)
@pytest.mark.parametrize("name", ["junk.mp4", "junk_01.avi", "junk"])
def test_malformed_videos(tmp_path: Path, content, name: str) -> None:
    (tmp_path / name).write_bytes(content(tmp_path))
    with pytest.raises(SourceError, match=f"{name} is not a picture or video that OpenCV can read"):
        open_source(tmp_path / name)


def test_unreachable_stream() -> None:
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:9/a\.mp4 is not .* check that it is reachable"):
        open_source("http://127.0.0.1:9/a.mp4")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([0.0, 0.04, 0.12, 0.2], [0.0, 0.04, 0.12, 0.2]),  # believed, at an uneven rate too
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.1, 0.2, 0.3]),  # always 0
        ([0.0, math.nan, math.inf, -5.0], [0.0, 0.1, 0.2, 0.3]),
        ([0.0, 0.5, 0.1, 0.2], [0.0, 0.5, 0.6, 0.7]),  # falls back: times still rise
        ([math.nan, 0.1, 0.1, 0.3], [0.0, 0.1, 0.2, 0.3]),
    ],
)
def test_times_rise_whatever_the_container_says(told: list[float], expected: list[float]) -> None:
    times: list[float] = []
    for index, told_s in enumerate(told):
        times.append(next_timestamp(told_s, times[-1] if times else None, index, fps=10.0))
    np.testing.assert_allclose(times, expected, atol=ROUNDING_S)


def test_times_without_any_rate() -> None:
    assert next_timestamp(0.0, 0.0, 1, fps=None) == pytest.approx(1 / 25)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (24.0, 24.0),
        (29.97, 29.97),
        (0.5, 0.5),
        (0.0, None),
        (-1.0, None),
        (math.nan, None),
        (math.inf, None),
        (1000, None),
    ],
)
def test_sane_fps(told: float, expected: float | None) -> None:
    assert sane_fps(told) == expected


@pytest.mark.parametrize(
    ("read", "said"),
    [
        ("junk.mp4", "SourceError"),
        ("cut.png", "SourceError"),
        ("4095", "BackendUnavailable"),
        ("x_%02d.jpg", "SourceError"),
    ],
)
def test_opencv_writes_nothing_of_its_own(tmp_path: Path, read: str, said: str) -> None:
    (tmp_path / "junk.mp4").write_bytes(_cut(tmp_path))
    (tmp_path / "cut.png").write_bytes(cv2.imencode(".png", np.zeros((64, 64), np.uint8))[1].tobytes()[:60])
    code = (
        "import sys, hgedge.sources as s, hgedge.errors as e\n"
        "try: s.open_source(sys.argv[1])\n"
        "except e.HgedgeError as error: print(type(error).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, read],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert (done.stdout.strip(), done.stderr) == (said, "")
