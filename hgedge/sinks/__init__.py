"""Where results go: pictures, videos, JSON lines, COCO results.

Of a live source, which nobody can run again, what was recorded is kept whatever ends the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hgedge.errors import ConfigError
from hgedge.sinks.coco import CocoSink
from hgedge.sinks.jsonl import JsonlSink
from hgedge.sources import SourceInfo

if TYPE_CHECKING:
    from hgedge.sinks.pictures import PictureSink
    from hgedge.sinks.video import VideoSink

__all__ = ["CocoSink", "JsonlSink", "check_targets", "open_sink"]

FALLBACK_FPS = 25.0


def open_sink(path: Path | str, source: SourceInfo) -> PictureSink | VideoSink:
    """Open what fits the target's name and the source: a picture, a folder of pictures or a video.

    Args:
        path: A name with a picture's or a video's extension; without one, or of a folder that is there, a folder.
        source: What will be saved; a video gets its rate, or 25 frames a second if it has none.

    Raises:
        ConfigError: The name fits neither, holds one picture where the source has more, or cannot be written to.
        BackendUnavailable: OpenCV is not here.
    """
    from hgedge.sinks import pictures, video

    path = Path(path)
    if path.is_dir() or not path.suffix:
        return pictures.PictureSink(path, keep=source.live)
    if video.is_video_name(path):
        fps, fit = source.fps or FALLBACK_FPS, source.kind != "images"
        return video.VideoSink(path, fps, source.frame_wh, fit, keep=source.live)
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


def check_targets(targets: Mapping[str, str | Path | None], source: SourceInfo, other: str = "") -> None:
    """Check that nothing is written over what is read, and no two things into one file.

    Args:
        targets: Option -> the name of a file or folder, None if there is none; "-" is stdout.
        source: What is read.
        other: A file that is read too.

    Raises:
        ConfigError: One of them is.
    """
    seen: dict[Path, str] = {}
    for option, target in targets.items():
        if target is None or str(target) == "-":
            continue
        path = Path(target)
        if _is_source(path, source):
            raise ConfigError(f"{path} is the source itself, which would be overwritten; give another name")
        if other and path.resolve() == Path(other).resolve():
            raise ConfigError(f"{path} is read by this run, and would be overwritten; give {option} another name")
        first = seen.setdefault(path.resolve(), option)
        if first != option:
            raise ConfigError(f"{path} cannot hold what both {first} and {option} write; give two names")


def _is_source(path: Path, source: SourceInfo) -> bool:
    """Whether writing to the path would replace what is read; pictures keep their names in a folder."""
    if source.path is None or not path.exists():
        return False
    if source.path.is_dir() and path.is_file():
        from hgedge.sources.images import looks_like_picture

        return path.resolve().is_relative_to(source.path.resolve()) and looks_like_picture(path)
    into_its_folder = source.kind == "images" and source.path.is_file() and path.samefile(source.path.parent)
    return path.samefile(source.path) or into_its_folder
