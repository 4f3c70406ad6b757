from __future__ import annotations

import logging
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from hgedge.errors import SourceError
from hgedge.pose import Frame
from hgedge.sources import open_source
from hgedge.sources.images import picture_files, read_picture

HGEDGE_DATA = Path(__file__).parents[2].parent / "shared" / "data"
JPEG_ERROR = 12  # grey levels; lossy coding of a smooth picture


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    """A smooth picture whose three channels differ and which no turn or mirroring leaves as it is."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, 128 * (x / width + y / height)], axis=2).astype(np.uint8)


def frames_of(spec: str | int | Path) -> list[Frame]:
    with open_source(spec) as source:
        return list(source)


def png(color_type: int, bit_depth: int, pixels: np.ndarray) -> bytes:
    """A PNG from big-endian samples, (H, W * channels)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, samples = pixels.shape
    width = samples // {0: 1, 2: 3, 4: 2, 6: 4}[color_type]
    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF segment that holds the orientation alone."""
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.mark.parametrize("extension", [".png", ".bmp", ".webp", ".tiff", ".jpg", ".ppm"])
def test_kinds_of_pictures_are_read_whatever_their_name(tmp_path: Path, extension: str) -> None:
    image = gradient()
    cv2.imwrite(str(tmp_path / f"picture{extension}"), image)
    path = (tmp_path / f"picture{extension}").rename(tmp_path / "no_extension")
    (frame,) = frames_of(path)
    assert frame.image.shape == (40, 60, 3) and frame.image.dtype == np.uint8
    assert np.abs(frame.image.astype(int) - image).max() <= (JPEG_ERROR if extension in (".jpg", ".webp") else 0)
    assert (frame.index, frame.timestamp_s, frame.name) == (0, 0.0, "no_extension")
    assert frame.capture_ms > 0


@pytest.mark.parametrize(
    ("color_type", "bit_depth", "channels"),
    [(0, 8, "g"), (0, 16, "g"), (4, 8, "ga"), (4, 16, "ga"), (2, 16, "rgb"), (6, 8, "rgba"), (6, 16, "rgba")],
)
def test_png_of_every_depth_becomes_bgr8(tmp_path: Path, color_type: int, bit_depth: int, channels: str) -> None:
    image = gradient()
    planes = {"b": image[..., 0], "g": image[..., 1], "r": image[..., 2], "a": np.full((40, 60), 90, np.uint8)}
    samples = np.stack([planes[name] for name in channels], axis=2).reshape(40, -1)
    wide = samples if bit_depth == 8 else (samples.astype(">u2") * 256 + 77).astype(">u2")
    (tmp_path / "a.png").write_bytes(png(color_type, bit_depth, wide))
    expected = image if "r" in channels else np.repeat(image[..., 1:2], 3, axis=2)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), expected)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(1, None), (3, cv2.ROTATE_180), (6, cv2.ROTATE_90_CLOCKWISE), (8, cv2.ROTATE_90_COUNTERCLOCKWISE)],
)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, turn: int | None) -> None:
    image = gradient()
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(with_orientation(jpeg, orientation))
    with open_source(tmp_path / "a.jpg") as source:
        (frame,) = source
        assert source.info.frame_wh == (frame.image.shape[1], frame.image.shape[0])
    expected = image if turn is None else cv2.rotate(image, turn)
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image.astype(int) - expected).max() <= JPEG_ERROR


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_cut_jpeg_is_refused(tmp_path: Path, progressive: int, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    jpeg = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(jpeg[: int(share * len(jpeg))])
    with pytest.raises(SourceError, match=r"a\.jpg is a JPEG that is cut off: it has no end-of-image marker; get a"):
        open_source(tmp_path / "a.jpg")


def test_end_of_a_thumbnail_is_not_the_end_of_the_picture(tmp_path: Path) -> None:
    thumbnail = cv2.imencode(".jpg", gradient(8, 8))[1].tobytes()
    jpeg = cv2.imencode(".jpg", gradient())[1].tobytes()
    segment = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = jpeg[:2] + segment + jpeg[2:] + b"trailing bytes"
    (tmp_path / "whole.jpg").write_bytes(whole)
    (tmp_path / "cut.jpg").write_bytes(whole[: len(segment) + len(jpeg) // 2])
    assert read_picture(tmp_path / "whole.jpg").shape == (40, 60, 3)
    with pytest.raises(SourceError, match="cut off"):
        read_picture(tmp_path / "cut.jpg")


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


PNG = png(2, 8, gradient().reshape(40, -1))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jpg", b"just some words, no picture " * 40, r"a\.jpg is not a picture or video that OpenCV can read"),
        ("a.png", b"", r"a\.png is empty; expected a picture or video"),
        ("a.png", PNG[:-12], r"a\.png is a PNG that is cut off: it has no IEND chunk; get a whole copy"),
        ("a.png", PNG[: len(PNG) // 2], "is a PNG that is cut off"),
        ("a.png", _flipped(PNG), "is a PNG that is damaged: the checksum of its IDAT chunk is wrong"),
        ("a.bmp", cv2.imencode(".bmp", gradient())[1].tobytes()[:3000], r"a\.bmp is not a picture .* or is damaged"),
        ("a.webp", cv2.imencode(".webp", gradient())[1].tobytes()[:60], r"a\.webp is not a picture .* or is damaged"),
        ("a.jpg", b"\xff\xd8\xff\xd9", r"a\.jpg is not a picture .* or is damaged"),
    ],
)
def test_malformed_pictures(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message) as raised:
        open_source(tmp_path / name)
    assert raised.value.exit_code == 2


def test_folder_gives_pictures_by_name_and_skips_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (10, 2, 3):
        cv2.imwrite(str(tmp_path / f"{number:02d}.png"), np.full((8, 8, 3), number, np.uint8))
    (tmp_path / "01.jpg").write_text("no picture")
    (tmp_path / "notes.txt").write_text("not even called one")
    (tmp_path / ".hidden.png").write_bytes(PNG)
    (tmp_path / "below").mkdir()
    assert [path.name for path in picture_files(tmp_path)] == ["01.jpg", "02.png", "03.png", "10.png"]
    with caplog.at_level(logging.WARNING), open_source(tmp_path) as source:
        frames = list(source)
        assert (source.info.kind, source.info.num_frames, source.info.path) == ("images", 4, tmp_path)
    assert [(frame.index, frame.name, int(frame.image[0, 0, 0])) for frame in frames] == [
        (0, "02.png", 2),
        (1, "03.png", 3),
        (2, "10.png", 10),
    ]
    assert "skipped" in caplog.messages[0] and "01.jpg is not a picture" in caplog.messages[0]
    assert f"1 of the 4 pictures of folder {tmp_path} could not be read" in caplog.messages[1]


def test_folder_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    (tmp_path / "b.png").write_bytes(PNG[:100])
    with pytest.raises(SourceError, match=r"none of the 2 pictures of folder .* can be read; the last: .*b\.png"):
        frames_of(tmp_path)


def test_folder_without_pictures_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(SourceError, match=r"holds no pictures among 1 entries; looked for \.jpg \.jpeg \.png"):
        open_source(tmp_path)


def test_patterns(tmp_path: Path) -> None:
    for name in ("a1", "a2", "b1", "odd[1]"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), gradient())
    (tmp_path / "below").mkdir()
    cv2.imwrite(str(tmp_path / "below" / "c1.png"), gradient())
    assert [frame.name for frame in frames_of(f"{tmp_path}/a*.png")] == ["a1.png", "a2.png"]
    assert [frame.name for frame in frames_of(f"{tmp_path}/**/?1.png")] == ["a1.png", "b1.png", "c1.png"]
    assert [frame.name for frame in frames_of(f"{tmp_path}/odd[1].png")] == ["odd[1].png"]  # a name before a pattern
    with pytest.raises(SourceError, match="no file fits the pattern"):
        open_source(f"{tmp_path}/z*.png")


@pytest.mark.parametrize("spec", ["missing.jpg", "missing/folder", "x" * 5000])
def test_what_is_not_there(spec: str) -> None:
    with pytest.raises(SourceError, match=r"no such file or folder: missing|cannot be opened: File name too long"):
        open_source(spec)


def test_real_photographs_equal_opencv() -> None:
    folder = HGEDGE_DATA / "photos"
    if not folder.is_dir():
        pytest.skip(f"needs the photographs in {folder}")
    frames = frames_of(folder)
    assert [frame.name for frame in frames] == sorted(path.name for path in folder.iterdir())
    for frame in frames:
        np.testing.assert_array_equal(frame.image, cv2.imread(str(folder / frame.name)))


def test_no_photograph_of_the_data_set_is_taken_for_damaged() -> None:
    folder = HGEDGE_DATA / "lspet" / "images"
    if not folder.is_dir():
        pytest.skip(f"needs the photographs in {folder}")
    files = picture_files(folder)[::50]
    assert len(files) > 50 and all(read_picture(file).ndim == 3 for file in files)
