"""What is answered at each address."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import re
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler

from hgedge.errors import HgedgeError
from hgedge.preview.feed import Feed
from hgedge.preview.guard import Guard
from hgedge.preview.ledger import Ledger, plain
from hgedge.preview.metrics import Metrics
from hgedge.preview.painter import Painter
from hgedge.preview.recorder import Recorder, recording_record

log = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("page.html")
MAX_VIEWERS = 64
SLOW_S = 20.0  # in which a viewer must take a picture; one that does not has gone without saying so
SNAPSHOT_S = 5.0
RETRY_S = 60
BOUNDARY = b"--frame\r\n"
STREAM_TYPE = "multipart/x-mixed-replace; boundary=frame"
PLAIN_STREAM_TYPE = "application/octet-stream"  # for scripts: some browsers take a multipart answer apart themselves
LOGIN = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>hgedge</title><style>:root{color-scheme:light dark}body{font:16px system-ui,sans-serif;max-width:26rem;
margin:15vh auto;padding:0 1rem}input,button{font:inherit;padding:.5rem .7rem}form{display:flex;gap:.5rem}
input{flex:1;min-width:0}</style><h1>hgedge preview</h1><p>%s. It stands in the address that hgedge run showed.</p>
<form><input name="token" type="password" placeholder="Token" aria-label="Token" autofocus required>
<button>Open</button></form>"""


@dataclass(frozen=True)
class Site:
    """What the answers are made of."""

    guard: Guard
    ledger: Ledger
    metrics: Metrics
    feed: Feed
    painter: Painter
    recorder: Recorder
    about: dict[str, Any]
    cookie: str


class Answer(RequestHandler):
    """What all answers share: the guard, headers that keep other sites out, errors in one line."""

    def initialize(self, site: Site) -> None:
        self.site = site

    def prepare(self) -> None:
        site, bearer = self.site, self.request.headers.get("Authorization", "")
        token = bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ") else None
        token = self.get_query_argument("token", token)
        if site.guard.check(self.request, self.get_cookie(site.cookie), token):
            self.set_cookie(site.cookie, site.guard.session, httponly=True, samesite="Strict")

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 429:
            self.set_header("Retry-After", str(RETRY_S))
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: {self._reason}\n")

    def compute_etag(self) -> None:
        """No answer is kept, so none needs a tag."""

    def log_exception(self, kind: Any, error: Any, traceback: Any) -> None:
        """Tell of our own mistakes, without the address: a token may stand in it."""
        if not isinstance(error, (HTTPError, StreamClosedError)):
            log.error("the preview failed to answer %s", self.request.path, exc_info=(kind, error, traceback))

    def answer_json(self, document: dict[str, Any]) -> Awaitable[None]:
        self.set_header("Content-Type", "application/json")
        return self.finish(json.dumps(plain(document), allow_nan=False))


class Missing(Answer):
    """There is nothing at this address."""

    def prepare(self) -> None:
        super().prepare()
        raise HTTPError(404)


class Page(Answer):
    """The page, or what asks for the token."""

    html = PAGE.read_bytes()

    def get(self) -> None:
        self._allow(self.html)
        self.finish(self.html)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code != 401:
            return super().write_error(status_code, **kwargs)
        html = (LOGIN % self._reason).encode()
        self._allow(html)
        self.finish(html)

    def _allow(self, html: bytes) -> None:
        """Let the browser run these scripts and styles and no others."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        policy = "default-src 'none'; connect-src 'self'; img-src 'self' data: blob:; form-action 'self'"
        policy += f"; script-src {_digests(html, b'script')}; style-src {_digests(html, b'style')}"
        self.set_header("Content-Security-Policy", f"{policy}; base-uri 'none'; frame-ancestors 'none'")


class Status(Answer):
    """The figures of now."""

    async def get(self) -> None:
        site = self.site
        recording = recording_record(site.recorder.state)
        run = {"viewers": site.feed.viewers, "recording": recording, "about": site.about}
        await self.answer_json({**site.ledger.status(), **run})


class History(Answer):
    """The figures of the last two minutes."""

    async def get(self) -> None:
        await self.answer_json(self.site.ledger.history())


class Scrape(Answer):
    """The figures for Prometheus."""

    async def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        await self.finish(self.site.metrics.text())


class Watching(Answer):
    """Pictures."""

    gone = False

    def on_connection_close(self) -> None:
        self.gone = True
        self.site.feed.wake()

    def last_number(self) -> int:
        """What a newcomer has seen: everything but the newest frame."""
        newest = self.site.ledger.newest
        return -1 if newest is None else newest.number - 1


class Snapshot(Watching):
    """The newest picture."""

    async def get(self) -> None:
        if self.site.ledger.newest is None:
            raise HTTPError(404, reason="No frame yet")
        coming = self.site.feed.after(self.last_number(), lambda: self.gone)
        try:
            picture = await asyncio.wait_for(coming, SNAPSHOT_S)
        except asyncio.TimeoutError:
            picture = None
        if picture is None:
            raise HTTPError(503, reason="No picture can be made")
        self.set_header("Content-Type", "image/jpeg")
        await self.finish(picture.jpeg)


class Stream(Watching):
    """Picture after picture, each viewer at its own pace."""

    async def get(self) -> None:
        if self.site.feed.viewers >= MAX_VIEWERS:
            raise HTTPError(429, reason=f"There are {MAX_VIEWERS} viewers already")
        script = self.request.headers.get("Accept") == PLAIN_STREAM_TYPE
        self.set_header("Content-Type", PLAIN_STREAM_TYPE if script else STREAM_TYPE)
        self.write(BOUNDARY)
        self.site.feed.viewers += 1
        try:
            await self._send_all()
        except StreamClosedError:
            pass
        except asyncio.TimeoutError:
            self.detach().close()
        finally:
            self.site.feed.viewers -= 1

    async def _send_all(self) -> None:
        number = self.last_number()
        await self.flush()
        while picture := await self.site.feed.after(number, lambda: self.gone):
            number = picture.number
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\nX-Frame: {number}\r\n\r\n"
            self.write(head.encode() + picture.jpeg + b"\r\n" + BOUNDARY)
            await asyncio.wait_for(self.flush(), SLOW_S)


class Record(Answer):
    """Starts or stops a recording."""

    async def post(self, wish: str) -> None:
        site = self.site
        fps = site.ledger.fps()
        act = site.recorder.stop if wish == "stop" else lambda: site.recorder.start(fps)
        try:
            recording = await asyncio.wrap_future(site.painter.order(act))
        except HgedgeError as error:
            self.set_status(409)
            await self.answer_json({"error": str(error)})
        else:
            await self.answer_json(recording_record(recording))


def application(site: Site) -> Application:
    """All addresses."""
    addresses: list[tuple[str, type[Answer]]] = [
        (r"/", Page),
        (r"/status\.json", Status),
        (r"/history\.json", History),
        (r"/metrics", Scrape),
        (r"/snapshot\.jpg", Snapshot),
        (r"/stream", Stream),
        (r"/recording/(start|stop)", Record),
    ]
    with_site = {"site": site}
    return Application(
        [(path, handler, with_site) for path, handler in addresses],
        default_handler_class=Missing,
        default_handler_args=with_site,
        log_function=_log,
    )


def _log(handler: RequestHandler) -> None:
    """Tell of requests to those who debug; never of what follows the ?, where a token may stand."""
    log.debug("%s %s: %d", handler.request.method, handler.request.path, handler.get_status())


def _digests(html: bytes, tag: bytes) -> str:
    """How a browser is told which inline scripts or styles are ours."""
    bodies = re.findall(b"<%b>(.*?)</%b>" % (tag, tag), html, re.DOTALL)
    texts = (base64.b64encode(hashlib.sha256(body).digest()).decode() for body in bodies)
    return " ".join(f"'sha256-{text}'" for text in texts) or "'none'"
