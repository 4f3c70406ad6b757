"""Figures of a run: the newest frame's, and how they went over the last two minutes."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hgedge.pose import Frame, Pose
from hgedge.sinks.jsonl import frame_record

SECONDS = 120  # of history
RATE_S = 2.0  # over which frames a second are counted
STALL_S, STALL_FRAMES = 2.0, 5  # a source is stalled after this time, and after so many of its usual intervals
DIGITS = 3
QUIET = ("retrying", "stalled")  # what a source says of itself while no frames come


@dataclass(frozen=True)
class Shot:
    """A frame and what was found in it, as published.

    Attributes:
        number: Position among all that were published, from 0.
        frame: The frame.
        draw: Makes the picture to show: (H, W, 3) uint8, BGR.
        people: Those found.
        latency_ms: Stage -> milliseconds.
        age_ms: From capture to output.
        dropped: Frames that the source has thrown away so far.
        published_s: `time.monotonic()` when it came here.
    """

    number: int
    frame: Frame
    draw: Callable[[], np.ndarray]
    people: list[Pose]
    latency_ms: dict[str, float]
    age_ms: float
    dropped: int
    published_s: float


@dataclass
class Second:
    """Sums over the frames of one second."""

    second: int
    frames: int
    sums: dict[str, float]


class Ledger:
    """Takes shots in one thread, tells their figures in others."""

    def __init__(self) -> None:
        self.newest: Shot | None = None
        self._told = "live"
        self._ended = False
        self._times: deque[float] = deque(maxlen=1024)
        self._seconds: deque[Second] = deque(maxlen=SECONDS + 1)
        self._lock = threading.Lock()

    def add(self, shot: Shot, state: str) -> None:
        """Take a shot and what its source says of itself."""
        values = {**shot.latency_ms, "age": shot.age_ms}
        with self._lock:
            self.newest, self._told = shot, state
            self._times.append(shot.published_s)
            second = int(shot.published_s)
            if not self._seconds or self._seconds[-1].second != second:
                self._seconds.append(Second(second, 0, {}))
            now = self._seconds[-1]
            now.frames += 1
            for name, value in values.items():
                now.sums[name] = now.sums.get(name, 0.0) + value

    def tell(self, state: str) -> None:
        """Note what the source says of itself while no frames come."""
        self._told = state

    def end(self) -> None:
        """No more shots will come."""
        self._ended = True

    def state(self) -> str:
        """One of "waiting" (for a first frame), "stalled", "ended", or what the source says: "live", "retrying"."""
        if self._ended:
            return "ended"
        if self._told in QUIET:
            return self._told
        if self.newest is None:
            return "waiting"
        rate = self._rate()
        patience_s = max(STALL_S, STALL_FRAMES / rate if rate > 0 else 0.0)
        return "stalled" if self.silent_s() > patience_s else self._told

    def silent_s(self) -> float:
        """Seconds since the newest frame."""
        return 0.0 if self.newest is None else time.monotonic() - self.newest.published_s

    def fps(self) -> float:
        """Frames a second that are coming, 0 where none do."""
        return 0.0 if self.state() in (*QUIET, "waiting", "ended") else self._rate()

    def status(self) -> dict[str, Any]:
        """The newest frame as `hgedge run --jsonl` writes it, and the run's figures."""
        shot = self.newest
        run = {
            "state": self.state(),
            "silent_s": round(self.silent_s(), DIGITS),
            "fps": round(self.fps(), DIGITS),
            "frames": 0 if shot is None else shot.number + 1,
            "dropped": 0 if shot is None else shot.dropped,
        }
        if shot is None:
            return {"frame": None, "timestamp_s": None, "age_ms": None, "people": [], "latency_ms": {}, **run}
        return {**frame_record(shot.frame, shot.people, shot.latency_ms, shot.age_ms), **run}

    def history(self) -> dict[str, Any]:
        """Means by second, oldest first, of two minutes at most; null where no frame came, nothing of this second."""
        last = int(time.monotonic())
        with self._lock:
            kept = {second.second: (second.frames, dict(second.sums)) for second in self._seconds}
        first = min(kept, default=last)
        rows = [kept.get(second, (0, {})) for second in range(max(first, last - SECONDS), last)]
        names = list(dict.fromkeys(name for _, sums in rows for name in sums))
        means = {name: [_mean(sums.get(name), frames) for frames, sums in rows] for name in names}
        age_ms = means.pop("age", [None] * len(rows))
        return {"step_s": 1, "fps": [frames for frames, _ in rows], "age_ms": age_ms, "latency_ms": means}

    def _rate(self) -> float:
        with self._lock:
            times = list(self._times)
        recent = [moment for moment in times if moment >= times[-1] - RATE_S]
        recent = recent if len(recent) > 1 else times[-2:]
        span = recent[-1] - recent[0] if recent else 0.0
        return (len(recent) - 1) / span if span > 0 else 0.0


def plain(value: Any) -> Any:
    """A value as JSON can hold it: what is not finite is null, what is unknown is text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _mean(total: float | None, count: int) -> float | None:
    return None if total is None or not math.isfinite(total) else round(total / count, DIGITS)
