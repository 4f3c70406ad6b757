"""The preview: a server in a thread of its own, fed by the run."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from tornado.httpserver import HTTPServer

from hgedge.errors import ConfigError
from hgedge.pose import Frame, Pose
from hgedge.preview.feed import Feed
from hgedge.preview.guard import Guard
from hgedge.preview.handlers import Site, application
from hgedge.preview.ledger import Ledger, Shot
from hgedge.preview.metrics import Metrics
from hgedge.preview.painter import Painter, Picture
from hgedge.preview.recorder import Recorder

log = logging.getLogger(__name__)

SEND_BUFFER_BYTES = 128 << 10  # of a connection: about a picture, so that what a slow viewer gets is not old
MAX_HEADER_BYTES, MAX_BODY_BYTES = 16 << 10, 1 << 10
IDLE_S = 60.0
GOODBYE_S = 1.0  # for viewers to be told of the end


class Preview:
    """Shows a run to browsers, and to Prometheus; serves from `with` to its end.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes one that is free.
        token: What viewers must bring, at least 8 characters; needed where others can reach the address.
        recordings: Folder of recordings; made when the first starts.
        about: The engine, as its manifest says: bundle, model, precision, backend, device, input, agreement, accuracy,
            drop; what is missing is not shown.

    Raises:
        ConfigError: The address needs a token, or cannot be listened on.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8080,
        token: str | None = None,
        recordings: Path = Path("recordings"),
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self._guard = Guard(host, token)
        self._socket = _listening(host or "0.0.0.0", port)
        self.host, self.port, self._token = host or "0.0.0.0", self._socket.getsockname()[1], token
        self._about = dict(about or {})
        self._ledger = Ledger()
        self._recorder = Recorder(recordings)
        self._painter = Painter(self._recorder, self._deliver)
        self._feed = Feed(self._painter.want)
        self._metrics = Metrics(self._ledger, self._about, self._feed, self._recorder)
        self._numbers = itertools.count()
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, name="preview-server", daemon=True)

    @property
    def url(self) -> str:
        """Where a browser finds the page, the token included."""
        host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(self.host, self.host)
        query = "" if self._token is None else f"?token={quote(self._token, safe='')}"
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/{query}"

    def publish(
        self,
        frame: Frame,
        draw: Callable[[], np.ndarray],
        people: Sequence[Pose],
        latency_ms: Mapping[str, float],
        age_ms: float,
        dropped: int = 0,
        state: str = "live",
    ) -> None:
        """Take a frame; returns at once, whoever watches.

        Args:
            frame: The frame.
            draw: Makes the picture to show, (H, W, 3) uint8, BGR; called later, in another thread, at most once for
                all viewers, or never. What it draws into must stay as it is until then.
            people: Those found.
            latency_ms: Stage -> milliseconds; "total" is all of them.
            age_ms: From the frame's capture to now.
            dropped: Frames that the source has thrown away so far.
            state: What the source says of itself, such as "live".
        """
        shot = Shot(next(self._numbers), frame, draw, list(people), dict(latency_ms), age_ms, dropped, time.monotonic())
        self._ledger.add(shot, state)
        self._metrics.count(shot)
        self._painter.offer(shot)

    def tell(self, state: str) -> None:
        """Show what the source says of itself while it gives no frames: "stalled", "retrying"."""
        self._ledger.tell(state)

    def __enter__(self) -> Preview:
        self._thread.start()
        self._loop = self._started.result()
        self._painter.start()
        log.info("preview at %s:%d", self.host, self.port)
        return self

    def __exit__(self, *exception: object) -> None:
        self._ledger.end()
        self._painter.close()
        self._loop.call_soon_threadsafe(self._feed.end)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        site = Site(
            self._guard, self._ledger, self._metrics, self._feed, self._painter, self._recorder, self._about,
            cookie=f"hgedge-{self.port}",
        )  # fmt: skip
        server = HTTPServer(
            application(site), max_header_size=MAX_HEADER_BYTES, max_body_size=MAX_BODY_BYTES,
            idle_connection_timeout=IDLE_S, body_timeout=IDLE_S,
        )  # fmt: skip
        server.add_socket(self._socket)
        self._started.set_result(asyncio.get_running_loop())
        await self._feed.over(GOODBYE_S)
        server.stop()
        await server.close_all_connections()

    def _deliver(self, picture: Picture) -> None:
        self._metrics.encoded.inc()
        self._loop.call_soon_threadsafe(self._feed.put, picture)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: It cannot.
    """
    if not 0 <= port < 2**16:
        raise ConfigError(f"a port is a number from 1 to 65535, but got {port}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        both = host == "::" and socket.has_dualstack_ipv6()
        listening = socket.create_server(address, family=family, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"the preview cannot listen on {host}:{port}: {_reason(error, host)}") from error
    listening.setblocking(False)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # connections inherit it
    return listening


def _reason(error: OSError | UnicodeError, host: str) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return "another program has the port; end that one, or give another port (--preview 127.0.0.1:8081)"
    if number == errno.EACCES:
        return "the system keeps this port; give one from 1024 on"
    if number == errno.EADDRNOTAVAIL or isinstance(error, (socket.gaierror, UnicodeError)):
        return f"{host} is no address of this machine; 127.0.0.1 is for it alone, 0.0.0.0 for everyone"
    return str(error)
