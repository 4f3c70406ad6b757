"""What is drawn, into a video whose name is the date and time."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hgedge.errors import ConfigError, HgedgeError
from hgedge.sinks.video import VideoSink

log = logging.getLogger(__name__)

MIN_FREE_BYTES = 64 << 20  # kept free, so that a file can still be ended and the box still lives
MAX_FPS, USUAL_FPS = 30.0, 25.0
MAX_GAP_S = 1.0  # of silence that a recording keeps
NAME = "%Y-%m-%d_%H-%M-%S"


@dataclass(frozen=True)
class Recording:
    """The recording that runs, or what became of the last.

    Attributes:
        active: It runs.
        name: Its file in the folder.
        seconds: Its length.
        message: What there is to say to whoever started it.
    """

    active: bool = False
    name: str | None = None
    seconds: float = 0.0
    message: str = ""


class Recorder:
    """One recording at a time; used by one thread, its state read by any.

    Time is kept: frames that come late are repeated, those between two of the video's are left out, and a gap longer
    than a second is cut to one.

    Args:
        folder: Where recordings go; made when the first starts.
        min_free_bytes: A recording ends before less of the disk is free.
    """

    def __init__(self, folder: Path, min_free_bytes: int = MIN_FREE_BYTES) -> None:
        self.folder, self._min_free_bytes = folder, min_free_bytes
        self.state = Recording()
        self._sink: VideoSink | None = None
        self._last_s: float | None = None
        self._written = 0

    def start(self, fps: float) -> Recording:
        """Begin a recording.

        Args:
            fps: Frames a second that come; 0 if not known.

        Raises:
            ConfigError: One runs already, or the folder cannot be written to, or its disk is full.
        """
        if self._sink is not None:
            raise ConfigError(f"{self.state.name} is being recorded already")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check_space()
        except OSError as error:
            raise ConfigError(f"{self.folder} cannot hold recordings: {error.strerror}") from error
        path = self._free_path()
        self._sink = VideoSink(path, min(max(round(fps or USUAL_FPS), 1), MAX_FPS))
        self._last_s, self._written = None, 0
        self.state = Recording(active=True, name=path.name)
        return self.state

    def write(self, image: np.ndarray, moment_s: float) -> None:
        """Add a picture to the recording that runs, if any; what goes wrong ends it, and stands in its state.

        Args:
            image: (H, W, 3) uint8, BGR.
            moment_s: When it was captured, on a steady clock.
        """
        if self._sink is None:
            return
        step_s = 0.0 if self._last_s is None else min(max(moment_s - self._last_s, 0.0), MAX_GAP_S)
        self._last_s = moment_s
        seconds = self.state.seconds + step_s
        try:
            self._check_space()
            for _ in range(self._written, round(seconds * self._sink.fps) + 1):
                self._sink.write(image)
                self._written += 1
        except (HgedgeError, OSError) as error:
            self.stop(str(error))
        else:
            self.state = replace(self.state, seconds=seconds)

    def stop(self, reason: str = "") -> Recording:
        """End the recording that runs, if any, and keep its file.

        Args:
            reason: Why, where nobody asked for it.
        """
        sink, self._sink = self._sink, None
        if sink is not None:
            try:
                with sink:
                    pass
                message = f"saved {sink.path}" if self._written else "nothing was recorded: no frame came"
            except (HgedgeError, OSError) as error:
                message = str(error)
            message = f"recording ended: {reason}; {message}" if reason else message
            log.log(logging.WARNING if reason else logging.INFO, "%s", message)
            self.state = replace(self.state, active=False, message=message)
        return self.state

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < self._min_free_bytes:
            raise ConfigError(f"the disk of {self.folder} is full but for {free >> 20} MiB; free some of it")

    def _free_path(self) -> Path:
        name, number = time.strftime(NAME), 1
        path = self.folder / f"{name}.mp4"
        while path.exists():
            number += 1
            path = self.folder / f"{name}-{number}.mp4"
        return path


def recording_record(recording: Recording) -> dict[str, Any]:
    """A recording as plain data."""
    return {**asdict(recording), "seconds": round(recording.seconds, 1)}
