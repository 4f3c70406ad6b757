"""A preview on loopback, frames to publish, and plain HTTP clients."""

from __future__ import annotations

import http.client
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from hgedge.pose import Frame, Pose
from hgedge.preview import Preview

PATIENCE_S = 30  # after which a test that waits has failed; nothing is measured by it


@dataclass
class Answer:
    """What a server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)


def ask(preview: Preview, path: str, method: str = "GET", **headers: str) -> Answer:
    """One request on a connection of its own; Host as given."""
    connection = http.client.HTTPConnection("127.0.0.1", preview.port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def until(true: Callable[[], object]) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def metric(preview: Preview, name: str) -> float:
    """A metric without labels, as Prometheus reads it."""
    lines = ask(preview, "/metrics").body.decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def person(identity: int = 0) -> Pose:
    points = np.arange(28, dtype=np.float32).reshape(14, 2)
    return Pose(points, np.full(14, 0.75, np.float32), np.array([1, 2, 30, 40], np.float32), 0.75, identity)


@dataclass
class Run:
    """Publishes frames and counts how many are drawn."""

    preview: Preview
    size_hw: tuple[int, int] = (48, 64)
    drawn: list[int] = field(default_factory=list)
    count: int = 0

    def publish(self, captured_s: float | None = None, **changes) -> int:
        """Publish a frame whose grey level is its number; the number."""
        number, self.count = self.count, self.count + 1

        def draw() -> np.ndarray:
            self.drawn.append(number)
            return np.full((*self.size_hw, 3), number % 256, np.uint8)

        moment = time.monotonic() if captured_s is None else captured_s
        frame = Frame(np.zeros((*self.size_hw, 3), np.uint8), number, number / 10, moment, 1.5)
        latency_ms = {"preprocess": 1.0, "infer": 8.0, "decode": 0.5, "total": 9.5}
        given = {"draw": draw, "people": [], "latency_ms": latency_ms, "age_ms": 12.5, "dropped": 0, "state": "live"}
        self.preview.publish(frame, **{**given, **changes})
        return number


class Viewer:
    """Reads a stream part by part."""

    def __init__(self, preview: Preview, **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", preview.port, timeout=PATIENCE_S)
        self._connection.request("GET", "/stream", headers=headers)
        self.answer = self._connection.getresponse()

    def read(self) -> tuple[int, bytes] | None:
        """Number and file of the next picture; None at a clean end."""
        assert self.answer.readline() == b"--frame\r\n"
        head: dict[str, str] = {}
        while (line := self.answer.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            head[name] = value.strip()
        if not head:
            return None
        jpeg = self.answer.read(int(head["Content-Length"]))
        assert self.answer.readline() == b"\r\n"
        return int(head["X-Frame"]), jpeg

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(autouse=True)
def nothing_fails_unseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No answer failed in the server, whatever the client saw of it."""
    yield
    errors = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert [record.message for record in errors if record.name != "hgedge.preview.painter"] == []


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """serve(token=...): a preview that serves, and its run."""
    opened: list[Preview] = []

    def start(**settings) -> Run:
        preview = Preview(**{"port": 0, "recordings": tmp_path / "recordings", **settings})
        opened.append(preview.__enter__())
        return Run(preview)

    yield start
    for preview in opened:
        preview.__exit__(None, None, None)


@pytest.fixture
def watch() -> Iterator[Callable[..., Viewer]]:
    """watch(preview): a viewer of its stream."""
    viewers: list[Viewer] = []

    def start(preview: Preview, **headers: str) -> Viewer:
        viewers.append(Viewer(preview, **headers))
        return viewers[-1]

    yield start
    for viewer in viewers:
        viewer.close()
