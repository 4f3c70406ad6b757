"""Frames from cameras, videos and pictures, recognised by content."""

from __future__ import annotations

import glob
import logging
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hgedge.errors import ConfigError, SourceError
from hgedge.sources.ahead import read_ahead
from hgedge.sources.raw import RawFormat, open_raw
from hgedge.sources.reopen import reopened
from hgedge.sources.source import Source, SourceInfo

__all__ = ["RawFormat", "Source", "SourceInfo", "open_camera", "open_source", "read_ahead"]

log = logging.getLogger(__name__)

CAMERA = re.compile(r"(csi:|/dev/video)?([0-9]+)")
TURNS = (0, 90, 180, 270)


def open_source(spec: str | int | Path, raw: RawFormat | None = None) -> Source:
    """Open a camera, video, picture, folder or pattern of pictures, the URL of a stream, or standard input.

    Cameras and live streams are opened again, after 0.5 s and then ever longer up to 10 s, whenever they are lost: they
    end only by being closed. See `read_ahead` for reading them in a thread.

    Args:
        spec: A camera (a number, as text too, `/dev/videoN`, or `csi:N` on a Jetson), a URL, a path, or `-` for raw
            frames on standard input. Text with `*`, `?` or `[` that names no file is a pattern; `**` reaches into
            folders. For a file whose name is a number or `-` give a Path.
        raw: What the frames on standard input look like.

    Raises:
        SourceError: There is nothing of that name, or nothing in it that can be read.
        BackendUnavailable: The camera or OpenCV is not here.
        ConfigError: Raw frames are not described, or something else is.
    """
    if spec == "":  # an unset variable of a script; as a path it would be the folder that one is in
        raise SourceError("the name of the source is empty; give a picture, video, folder, pattern, URL or camera")
    if spec == "-" and raw is None:
        raise ConfigError("frames on standard input do not tell their size; give it, as RawFormat((1280, 720))")
    if raw is not None:
        if spec != "-":
            raise ConfigError(f"raw frames are read from standard input, '-', but the source is {spec}")
        return open_raw(raw)
    if isinstance(spec, int):
        return open_camera(spec)
    camera = CAMERA.fullmatch(str(spec))
    if camera and (isinstance(spec, str) or camera[1] == "/dev/video"):
        return open_camera(str(spec))
    if isinstance(spec, str) and re.match("file://", spec, re.IGNORECASE):
        spec = Path(unquote(urlsplit(spec).path))
    if isinstance(spec, str) and re.match(r"[a-z][a-z0-9+.-]+://", spec, re.IGNORECASE):
        return _open_url(spec)
    try:
        return _open_path(Path(spec))
    except OSError as error:  # a folder that may not be listed, a name that is too long
        raise SourceError(f"{spec} cannot be opened: {error.strerror or error}") from error


def open_camera(
    name: int | str, frame_wh: tuple[int, int] | None = None, fps: float | None = None, turn: int = 0
) -> Source:
    """Open a camera, live: the driver keeps no more than one frame waiting, where it can. See `open_source`.

    Args:
        name: N for /dev/videoN, or for the CSI sensor behind it on a Jetson; `/dev/videoN` itself; or `csi:N`, a
            Jetson's CSI sensor, whose frames are NV12.
        frame_wh: Width and height to ask for, before turning; the camera may give others, `info.frame_wh` tells.
        fps: Frames a second to ask for.
        turn: Degrees clockwise to turn frames by: 0, 90, 180 or 270.

    Raises:
        BackendUnavailable: There is no such camera, or it gives no frames.
        ConfigError: The name is none of these, or the turn.
    """
    found = CAMERA.fullmatch(str(name))
    if found is None:
        raise ConfigError(
            f"a camera is named by a number from 0, but got {name}; /dev/videoN, or csi:N on a Jetson, names one too"
        )
    if turn not in TURNS:
        raise ConfigError(f"a camera can be turned by {', '.join(map(str, TURNS))} degrees, but got {turn}")
    kind, index = found[1], int(found[2])

    def opened() -> Source:
        return _open_device(kind, index, frame_wh, fps, turn)

    return reopened(opened(), opened, f"camera {name}")


def _open_device(
    kind: str | None, index: int, frame_wh: tuple[int, int] | None, fps: float | None, turn: int
) -> Source:
    from hgedge.sources import camera, csi

    sensor = index if kind == "csi:" else None if kind else csi.sensor_of(index)
    if sensor is None:
        return camera.open_camera_device(index, frame_wh, fps, turn)
    if not kind:
        log.info("camera %d is %s: opened as csi:%d", index, camera.name_of(index), sensor)
    return csi.open_csi(sensor, frame_wh, fps, turn)


def _open_url(url: str) -> Source:
    from hgedge.sources.stream import open_stream, shown

    source = open_stream(url)
    return reopened(source, lambda: open_stream(url), shown(url)) if source.info.live else source


def _open_path(path: Path) -> Source:
    from hgedge.sources import images

    if path.is_dir():
        return images.open_pictures(sorted(path.iterdir()), f"folder {path}", path)
    if path.exists():
        return _open_file(path)
    if glob.has_magic(str(path)):
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
        if not matches:
            raise SourceError(f"no file fits the pattern {path}; check it, and quote it so that the shell leaves it be")
        if len(matches) == 1 and matches[0].is_file():
            return _open_file(matches[0])
        shared = Path(os.path.commonpath([match.parent for match in matches]))
        return images.open_pictures(matches, f"pattern {path}", shared)
    raise SourceError(f"no such file or folder: {path}; give a picture, video, folder, pattern, URL or camera number")


def _open_file(path: Path) -> Source:
    from hgedge.sources import images, video

    if not path.is_file():
        raise SourceError(f"{path} is neither a file nor a folder; give a picture, video or folder")
    with open(path, "rb") as file:
        empty = not file.read(1)
    if empty:
        raise SourceError(f"{path} is empty; expected a picture or video")
    return images.open_picture(path) if images.looks_like_picture(path) else video.open_video(path)
