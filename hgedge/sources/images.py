"""Pictures: one, or many in the order of their names. They have no time: `timestamp_s` is 0."""

from __future__ import annotations

import logging
import re
import time
import zlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from hgedge.errors import SourceError
from hgedge.pose import Frame
from hgedge.sources.opencv import cv2, quiet
from hgedge.sources.source import Source, SourceInfo

log = logging.getLogger(__name__)

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
GIF = b"GIF8"  # left to FFmpeg: OpenCV reads only its first picture, and only since 4.11
PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
TIFF = (b"II*\0", b"MM\0*")
JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")  # in coded data FF 00 is a value, FF D0..D7 a restart


def looks_like_picture(path: Path) -> bool:
    """Whether a file begins as a picture that OpenCV reads does, whatever its name."""
    try:
        with open(path, "rb") as file:
            is_gif = file.read(len(GIF)) == GIF
    except OSError:
        return False
    with quiet():
        return not is_gif and bool(cv2.haveImageReader(str(path)))


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted by name: by extension or content, whether or not they can be decoded.

    Hidden files and those in folders below are left out.
    """
    return _pictures_among(sorted(folder.iterdir()))


def _pictures_among(files: Sequence[Path]) -> list[Path]:
    visible = [file for file in files if file.is_file() and not file.name.startswith(".")]
    return [file for file in visible if file.suffix.lower() in EXTENSIONS or looks_like_picture(file)]


def open_picture(path: Path) -> Source:
    """One picture as a source of one frame.

    Raises:
        SourceError: It cannot be read.
    """
    started = time.perf_counter()
    image = read_picture(path)
    capture_ms = (time.perf_counter() - started) * 1000

    def frames() -> Generator[Frame, None, None]:
        yield Frame(image, 0, 0.0, time.monotonic(), capture_ms, path.name)

    return Source(SourceInfo("images", (image.shape[1], image.shape[0]), num_frames=1, path=path), frames())


def open_pictures(candidates: Sequence[Path], where: str, path: Path) -> Source:
    """The pictures among some files as a source; those that cannot be read are logged, counted and skipped.

    Args:
        candidates: Files in order; see `picture_files` for what is left out.
        where: What messages call them together.
        path: The folder that they share.

    Raises:
        SourceError: None is a picture; or, once all were tried, none could be read.
    """
    pictures = _pictures_among(candidates)
    if not pictures:
        raise SourceError(
            f"{where} holds no pictures among {len(candidates)} entries; looked for {' '.join(EXTENSIONS)} by name, "
            "and for whatever else OpenCV reads by content; give videos one by one"
        )
    return Source(SourceInfo("images", num_frames=len(pictures), path=path), _frames(pictures, where))


def _frames(pictures: Sequence[Path], where: str) -> Generator[Frame, None, None]:
    index, last_error = 0, None
    for path in pictures:
        started = time.perf_counter()
        try:
            image = read_picture(path)
        except SourceError as error:
            log.warning("skipped: %s", error)
            last_error = error
            continue
        now = time.monotonic()
        yield Frame(image, index, 0.0, now, (time.perf_counter() - started) * 1000, path.name)
        index += 1
    if index == 0:
        raise SourceError(f"none of the {len(pictures)} pictures of {where} can be read; the last: {last_error}")
    if index < len(pictures):
        log.warning("%d of the %d pictures of %s could not be read", len(pictures) - index, len(pictures), where)


def read_picture(path: Path) -> np.ndarray:
    """Decode a whole picture: 16-bit, grey and transparent ones too, turned as its EXIF says.

    Returns:
        (H, W, 3) uint8, BGR. Transparency is dropped, 16 bits keep their upper 8.

    Raises:
        SourceError: The file cannot be read, is no picture, or is cut off or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if not data:
        raise SourceError(f"{path} is empty; expected a picture")
    damage = _damage(data)
    if damage:
        raise SourceError(f"{path} {damage}; get a whole copy of the picture")
    try:
        with quiet():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        if "MAX_IMAGE" in error.err:
            raise SourceError(f"{path} says that it has more pixels than can be read; make it smaller") from error
        raise SourceError(f"{path} cannot be decoded by OpenCV: {error.err}") from error
    if image is None:
        raise SourceError(f"{path} is not a picture or video that OpenCV can read, or is damaged")
    count = _num_pictures(data)
    if count > 1:
        log.warning("%s holds %d pictures, of which only the first is read; make a video of them", path, count)
    return image


def _num_pictures(data: bytes) -> int:
    """How many pictures a file holds: frames of an animated PNG or WebP, pages of a TIFF; 1 for all others."""
    if data.startswith(PNG):
        control = data.find(b"acTL", 0, data.find(b"IDAT"))
        return int.from_bytes(data[control + 4 : control + 8], "big") if control > 0 else 1
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return max(1, data.count(b"ANMF"))
    if data.startswith(TIFF):
        return _num_pages(data, "little" if data.startswith(b"I") else "big")
    return 1


def _num_pages(data: bytes, order: Literal["little", "big"]) -> int:
    """Follow the directories of a TIFF, each of which ends with where the next one starts."""
    seen: set[int] = set()
    position = int.from_bytes(data[4:8], order)
    while 0 < position < len(data) and position not in seen:
        seen.add(position)
        after = position + 2 + 12 * int.from_bytes(data[position : position + 2], order)
        position = int.from_bytes(data[after : after + 4], order)
    return max(1, len(seen))


def _damage(data: bytes) -> str:
    """What is wrong with a JPEG or PNG that a decoder might pass over, or "": half grey pictures help nobody."""
    if data.startswith(JPEG) and not _jpeg_is_whole(data):
        return "is a JPEG that is cut off: it has no end-of-image marker"
    if data.startswith(PNG):
        return _png_damage(data)
    return ""


def _jpeg_is_whole(data: bytes) -> bool:
    """Follow the segments, so that a thumbnail's end is not taken for the picture's; what follows is ignored."""
    position = 2
    while match := JPEG_MARKER.search(data, position):
        marker, position = match[1][0], match.end()
        if marker == 0xD9:
            return True
        if marker != 0x01:  # TEM alone has no length
            position += int.from_bytes(data[position : position + 2], "big")
    return False


def _png_damage(data: bytes) -> str:
    position = len(PNG)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        chunk, checksum = (
            data[position + 4 : position + 8 + length],
            data[position + 8 + length : position + 12 + length],
        )
        if len(checksum) < 4:
            break
        kind = chunk[:4]
        if kind[:1].isupper() and zlib.crc32(chunk) != int.from_bytes(
            checksum, "big"
        ):  # lower case: not needed to show it
            return f"is a PNG that is damaged: the checksum of its {kind.decode('latin-1')} chunk is wrong"
        if kind == b"IEND":
            return ""
        position += 12 + length
    return "is a PNG that is cut off: it has no IEND chunk"
