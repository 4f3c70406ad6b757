"""Whatever is sent, the answer is what was asked for or a refusal in one line."""

from __future__ import annotations

import socket
import string
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hgedge.preview import Preview
from tests.preview.conftest import PATIENCE_S, Run, ask

WAITING_S = 0.5  # an answer that takes longer is still read
PATHS = [
    "/",
    "/status.json",
    "/history.json",
    "/metrics",
    "/snapshot.jpg",
    "/stream",
    "/recording/stop",
    "/favicon.ico",
]
HEADERS = ["Host", "Cookie", "Origin", "Authorization", "Accept", "Content-Length", "Transfer-Encoding", "Range"]
HEADERS += ["Sec-Fetch-Site", "If-None-Match", "Connection", "X-Forwarded-For", "Upgrade", "Expect", "Content-Type"]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "STEAL"]

raw = st.binary(max_size=60)
text = st.text(string.printable.strip(), max_size=40)
paths = st.sampled_from(PATHS) | raw.map(lambda part: "/" + quote(part, safe="/%"))
queries = (
    st.just("") | raw.map(lambda part: "?token=" + quote(part)) | text.map(lambda part: "?" + quote(part, safe="&="))
)
names = st.sampled_from(HEADERS) | st.text(string.ascii_letters + "-", min_size=1, max_size=20)
headers = st.lists(st.tuples(names, text), max_size=3)
hosts = st.sampled_from(["localhost", "localhost", "127.0.0.1:80", "[::1]", "[::", "x:y", "", "a@b", "..."])

fuzz = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Preview(port=0, recordings=tmp_path_factory.mktemp("recordings")) as preview:
        yield Run(preview)


def said(run: Run, request: bytes) -> bytes:
    """The first that comes back; a server that waits for more of the request is told that no more comes."""
    with socket.create_connection(("127.0.0.1", run.preview.port), timeout=WAITING_S) as connection:
        connection.sendall(request)
        try:
            return connection.recv(1 << 16)
        except TimeoutError:
            connection.settimeout(PATIENCE_S)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(1 << 16)
        except ConnectionError:
            return b""


@fuzz
@given(method=st.sampled_from(METHODS), path=paths, query=queries, headers=headers, host=hosts)
def test_odd_requests_are_answered_or_refused(run: Run, caplog, method, path, query, headers, host) -> None:
    caplog.clear()
    head = "".join(f"{name}: {value}\r\n" for name, value in [("Host", host), *headers])
    answer = said(run, f"{method} {path}{query} HTTP/1.1\r\n{head}\r\n".encode())
    assert b"Traceback" not in answer and not [record for record in caplog.records if record.levelname == "ERROR"]
    if answer:
        status = int(answer.split()[1])
        assert status < 500 and (status >= 400 or (method, path) == ("POST", "/recording/stop") or path in PATHS)
        assert 200 <= status < 300 or status >= 400 or status == 100  # nobody is sent elsewhere


@fuzz
@given(lines=st.lists(raw, max_size=5))
def test_what_is_no_http_is_refused(run: Run, caplog, lines: list[bytes]) -> None:
    caplog.clear()
    answer = said(run, b"\r\n".join(lines) + b"\r\n\r\n")
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", b"403"),
        (b"GET /%ff%fe?token=%ff HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
        (b"GET http://elsewhere.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),  # we are no proxy
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b""),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n", b"400"),
        (b"DELETE /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405"),
        (b"GET /recording/start HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405"),  # what a link does changes nothing
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),  # TLS
    ],
)
def test_known_odd_requests(run: Run, request_bytes: bytes, status: bytes) -> None:
    answer = said(run, request_bytes)
    assert (answer.split() or [b"", b""])[1] == status
    assert ask(run.preview, "/status.json").status == 200
