"""Frames from cameras, videos and pictures, recognised by content."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from hgedge.errors import SourceError
from hgedge.sources.source import Source, SourceInfo

__all__ = ["Source", "SourceInfo", "open_camera", "open_source"]


def open_source(spec: str | int | Path) -> Source:
    """Open a camera, video, picture, folder or pattern of pictures, or the URL of a stream.

    Args:
        spec: A camera's index (a number, as text too, or `/dev/videoN`), a URL, or a path. Text with `*`, `?` or `[`
            that names no file is a pattern; `**` reaches into folders. For a file whose name is a number give a Path.

    Raises:
        SourceError: There is nothing of that name, or nothing in it that can be read.
        BackendUnavailable: The camera or OpenCV is not here.
    """
    if spec == "":  # an unset variable of a script; as a path it would be the folder that one is in
        raise SourceError("the name of the source is empty; give a picture, video, folder, pattern, URL or camera")
    if isinstance(spec, int):
        return open_camera(spec)
    number = re.fullmatch(r"(/dev/video)?([0-9]+)", str(spec))
    if number and (isinstance(spec, str) or number[1]):
        return open_camera(int(number[2]))
    if isinstance(spec, str) and re.match(r"[a-z][a-z0-9+.-]+://", spec, re.IGNORECASE):
        from hgedge.sources.video import open_video

        return open_video(spec)
    try:
        return _open_path(Path(spec))
    except OSError as error:  # a folder that may not be listed, a name that is too long
        raise SourceError(f"{spec} cannot be opened: {error.strerror or error}") from error


def open_camera(index: int, frame_wh: tuple[int, int] | None = None, fps: float | None = None) -> Source:
    """Open a camera by its index, live: the driver keeps no more than one frame waiting, where it can.

    Args:
        index: N of `/dev/videoN`.
        frame_wh: Width and height to ask for; the camera may give others, `info.frame_wh` tells.
        fps: Frames a second to ask for.

    Raises:
        BackendUnavailable: There is no such camera, or it gives no frames.
        ConfigError: The index is negative.
    """
    from hgedge.sources.camera import open_camera_device

    return open_camera_device(index, frame_wh, fps)


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
