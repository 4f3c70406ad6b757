"""Where results go: pictures, videos, JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hgedge.errors import ConfigError
from hgedge.sinks.jsonl import JsonlSink
from hgedge.sources import SourceInfo

if TYPE_CHECKING:
    from hgedge.sinks.pictures import PictureSink
    from hgedge.sinks.video import VideoSink

__all__ = ["JsonlSink", "open_jsonl", "open_sink"]

FALLBACK_FPS = 25.0


def open_sink(path: Path | str, source: SourceInfo) -> PictureSink | VideoSink:
    """Open what fits the target's name and the source: a picture, a folder of pictures or a video.

    Args:
        path: A name with a picture's or a video's extension; without one, or of a folder that is there, a folder.
        source: What will be saved; a video gets its rate, or 25 frames a second if it has none.

    Raises:
        ConfigError: The name fits neither, holds one picture where the source has more, is the source itself, or
            cannot be written to.
        BackendUnavailable: OpenCV is not here.
    """
    from hgedge.sinks import pictures, video

    path = Path(path)
    if _is_source(path, source):
        raise ConfigError(f"{path} is the source itself, which would be overwritten; give another name")
    if path.is_dir() or not path.suffix:
        return pictures.PictureSink(path)
    if video.is_video_name(path):
        return video.VideoSink(path, source.fps or FALLBACK_FPS, source.frame_wh)
    if not pictures.is_picture_name(path):
        raise ConfigError(
            f"{path} has an extension that cannot be written; known are {' '.join(pictures.EXTENSIONS)} for pictures, "
            f"{' '.join(video.CODECS)} for videos, and none for a folder"
        )
    if source.num_frames != 1:
        count = source.num_frames or "many"
        also = "" if source.kind == "images" else f" or a video ({path.stem}.mp4)"
        raise ConfigError(
            f"{path} holds one picture, but the source has {count}; save into a folder ({path.stem}){also}"
        )
    return pictures.PictureSink(path)


def open_jsonl(path: str, source: SourceInfo, other: Path | None = None) -> JsonlSink:
    """Open a file of JSON lines.

    Args:
        path: Its name; "-" is stdout.
        source: What the poses are found in.
        other: What else is written.

    Raises:
        ConfigError: It is the source itself, or what else is written, or cannot be written to.
    """
    if path != "-" and _is_source(Path(path), source):
        raise ConfigError(f"{path} is the source itself, which would be overwritten; give another name")
    if other is not None and Path(path).resolve() == other.resolve():
        raise ConfigError(f"{path} cannot hold both poses and pictures; give two names")
    return JsonlSink(path)


def _is_source(path: Path, source: SourceInfo) -> bool:
    """Whether writing to the path would replace what is read; pictures keep their names in a folder."""
    if source.path is None or not path.exists():
        return False
    if source.path.is_dir() and path.is_file():
        from hgedge.sources.images import looks_like_picture

        return path.resolve().is_relative_to(source.path.resolve()) and looks_like_picture(path)
    into_its_folder = source.kind == "images" and source.path.is_file() and path.samefile(source.path.parent)
    return path.samefile(source.path) or into_its_folder
