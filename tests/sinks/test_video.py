from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hgedge.errors import ConfigError, ShapeError, SourceError
from hgedge.sinks.video import CODECS, MIN_FREE_BYTES, VideoSink
from hgedge.sources import open_source
from hgedge.sources.opencv import set_log_level

COLOR_ERROR = 12  # grey levels that lossy coding of one flat colour may lose
WARNING = 3  # OpenCV's own level
RATE_ERROR = 1e-3  # containers keep rates as fractions, some to a millisecond


def level(index: int) -> np.ndarray:
    return np.full((48, 64, 3), 4 * index % 250, np.uint8)


@pytest.mark.parametrize("extension", [*CODECS, ".MP4"])
@pytest.mark.parametrize("fps", [25.0, 30000 / 1001, 0.5])
def test_every_frame_reads_back(tmp_path: Path, extension: str, fps: float) -> None:
    path = tmp_path / f"out{extension}"
    with VideoSink(path, fps, (64, 48)) as sink:
        for index in range(60):
            sink.write(level(index))
        assert not path.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    with open_source(path) as source:
        assert source.info.fps == pytest.approx(fps, rel=RATE_ERROR) and source.info.frame_wh == (64, 48)
        frames = list(source)
    assert len(frames) == 60
    for index, frame in enumerate(frames):
        assert abs(float(frame.image.mean()) - level(index).mean()) <= COLOR_ERROR
        assert frame.timestamp_s == pytest.approx(index / fps, abs=2e-3)  # Matroska counts in milliseconds


def test_odd_size_loses_its_last_row_and_column(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "out.mp4", 10) as sink:
        for _ in range(3):
            sink.write(np.zeros((47, 63, 3), np.uint8))
    with open_source(tmp_path / "out.mp4") as source:
        assert source.info.frame_wh == (62, 46) and len(list(source)) == 3


def test_frame_of_another_size_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    with (
        pytest.raises(ShapeError, match=r"frames of 64 x 48 pixels, but one of 48 x 64 came; save .* into a folder"),
        VideoSink(tmp_path / "out.mp4", 10) as sink,
    ):
        sink.write(level(0))
        sink.write(np.zeros((64, 48, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("frame", [np.zeros((48, 64), np.uint8), np.zeros((48, 64, 3), np.float32)])
def test_frame_of_another_kind_is_refused(tmp_path: Path, frame: np.ndarray) -> None:
    with (
        pytest.raises(ShapeError, match=r"a frame must be \(H, W, 3\) uint8, but got shape"),
        VideoSink(tmp_path / "out.mp4", 10) as sink,
    ):
        sink.write(frame)


def test_old_video_stays_after_an_exception(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_text("old")
    with pytest.raises(RuntimeError), VideoSink(tmp_path / "out.mp4", 10) as sink:
        sink.write(level(0))
        raise RuntimeError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.mp4", "old")]


def test_interrupt_keeps_what_was_recorded(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), VideoSink(tmp_path / "out.mp4", 10) as sink:
        for index in range(4):
            sink.write(level(index))
        raise KeyboardInterrupt
    with open_source(tmp_path / "out.mp4") as source:
        assert len(list(source)) == 4


def test_nothing_written_leaves_nothing(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "out.mp4", 10):
        pass
    assert list(tmp_path.iterdir()) == []


def test_video_that_is_not_whole_is_removed(tmp_path: Path) -> None:
    with (
        pytest.raises(SourceError, match=r"out\.mp4 was not written whole, and is removed; the disk may be full"),
        VideoSink(tmp_path / "out.mp4", 10) as sink,
    ):
        sink.write(level(0))
        (partial,) = tmp_path.iterdir()
        partial.unlink()
        partial.symlink_to("/dev/full")
    assert list(tmp_path.iterdir()) == []


def test_encoder_that_refuses(tmp_path: Path) -> None:
    with (
        pytest.raises(
            SourceError, match=r"OpenCV has no encoder mp4v for 1 x 1 pixels at 10 frames a second; try another"
        ),
        VideoSink(tmp_path / "out.mp4", 10) as sink,
    ):
        sink.write(np.zeros((1, 1, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "fps", "message"),
    [
        ("out.xyz", 10, r"out\.xyz has an extension of no video; known are \.mp4 \.m4v \.mov \.mkv \.avi"),
        ("out", 10, "extension of no video"),
        ("out.mp4", 0, r"fps of a video must be above 0 and at most 1000, but got 0"),
        ("out.mp4", float("nan"), "but got nan"),
        ("missing/out.mp4", 10, r"out\.mp4 cannot be written: there is no folder .*missing; make it first"),
        ("folder.mp4", 10, r"folder\.mp4 is a folder; expected the name of a file"),
    ],
)
def test_targets_that_cannot_be(tmp_path: Path, name: str, fps: float, message: str) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ConfigError, match=message):
        VideoSink(tmp_path / name, fps, (64, 48))
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mp4"]


def test_opencv_writes_nothing_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = set_log_level(WARNING)
    with pytest.raises(SourceError), VideoSink(tmp_path / "out.mp4", 1e-9) as sink:
        sink.write(level(0))
    assert capfd.readouterr() == ("", "")
    assert set_log_level(before) == WARNING  # others hear OpenCV again


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for a file's end and not much more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MIN_FREE_BYTES + (1 << 20)}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs root, and leave to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("extension", CODECS)
@pytest.mark.parametrize("keep", [False, True])
def test_a_disk_that_fills_leaves_a_whole_file_or_none(small_disk: Path, extension: str, keep: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    count, path = 0, small_disk / f"out{extension}"
    with (
        pytest.raises(SourceError, match=r"cannot be written on: its disk is full but for \d+ KiB; free some of it"),
        VideoSink(path, 10, keep=keep) as sink,
    ):
        for _ in range(1000):
            sink.write(noise)
            count += 1
    assert list(small_disk.iterdir()) == [path] * keep
    if keep:
        with open_source(path) as source:
            assert len(list(source)) == count > 5
