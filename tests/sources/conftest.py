"""Live streams on loopback, from real sockets: what each client gets is up to the test."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from hgedge.sources import opencv, reopen

BOUNDARY = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
MULTIPART = "multipart/x-mixed-replace; boundary=frame"
BITS = 12


def numbered(number: int, wh: tuple[int, int] = (192, 64)) -> np.ndarray:
    """A grey picture with its number in black and white stripes."""
    image = np.full((wh[1], wh[0], 3), 128, np.uint8)
    for bit in range(BITS):
        image[:, bit * wh[0] // BITS : (bit + 1) * wh[0] // BITS] = 255 * (number >> bit & 1)
    return image


def number_of(image: np.ndarray) -> int:
    """The number of a picture all of whose rows agree on it; -1 for a damaged one."""
    columns = (np.arange(BITS) + 0.5) * image.shape[1] / BITS
    rows = {int((row > 127) @ (1 << np.arange(BITS))) for row in image[:, columns.astype(int), 1]}
    return rows.pop() if len(rows) == 1 else -1


def jpeg(number: int, wh: tuple[int, int] = (192, 64)) -> bytes:
    """A numbered picture, or any other, as a JPEG."""
    return cv2.imencode(".jpg", numbered(number, wh))[1].tobytes()


class Client(http.server.BaseHTTPRequestHandler):
    """What a test's script for a client does its part with."""

    server: Server

    def log_message(self, *words: object) -> None:
        pass

    def do_GET(self) -> None:
        turn = min(self.server.clients, len(self.server.scripts) - 1)
        self.server.clients += 1
        try:
            self.server.scripts[turn](self)
        except OSError:  # the reader went away
            pass

    def begin(self, kind: str = MULTIPART, status: int = 200, length: int | None = None) -> None:
        """Send the head."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def send(self, picture: bytes) -> None:
        """Send a part of a motion JPEG stream."""
        self.wfile.write(BOUNDARY % len(picture) + picture + b"\r\n")

    def hold(self) -> None:
        """Say nothing more, until the test is over."""
        self.server.over.wait()


class Server(http.server.ThreadingHTTPServer):
    """Runs one script a client; the last one for all that come after."""

    daemon_threads = True

    def __init__(self, scripts: tuple[Callable[[Client], None], ...], port: int) -> None:
        super().__init__(("127.0.0.1", port), Client)
        self.scripts, self.clients, self.over = scripts, 0, threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/stream"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, *what: object) -> None:
        pass

    def end(self) -> None:
        """Let all clients go and listen no longer."""
        self.over.set()
        self.shutdown()
        self.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """serve(*scripts, port=0): an HTTP server on loopback."""
    servers: list[Server] = []

    def start(*scripts: Callable[[Client], None], port: int = 0) -> Server:
        servers.append(Server(scripts, port))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture
def motion() -> Callable[..., Callable[[Client], None]]:
    """motion(count, fps, first): a script that sends numbered pictures, and then cuts the stream."""

    def script(count: int, fps: float = 200, first: int = 0) -> Callable[[Client], None]:
        def run(client: Client) -> None:
            client.begin()
            started = time.monotonic()
            for index in range(count):
                client.send(jpeg(first + index))
                time.sleep(max(0.0, started + (index + 1) / fps - time.monotonic()))

        return run

    return script


@pytest.fixture
def pictures() -> tuple[Callable[..., np.ndarray], Callable[..., int], Callable[..., bytes]]:
    """numbered, number_of and jpeg."""
    return numbered, number_of, jpeg


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timeouts and waits of tenths of a second in place of seconds; how they follow one another is as ever."""
    monkeypatch.setattr(opencv, "OPEN_TIMEOUT_MS", 800)
    monkeypatch.setattr(opencv, "READ_TIMEOUT_MS", 600)
    monkeypatch.setattr(reopen, "FIRST_WAIT_S", 0.1)
    monkeypatch.setattr(reopen, "LONGEST_WAIT_S", 0.4)


@pytest.fixture
def readers() -> Callable[[], list[str]]:
    """The names of reading threads that are alive."""
    return lambda: [thread.name for thread in threading.enumerate() if thread.name.endswith(" reader")]
