from __future__ import annotations

import http.client
import logging
import secrets
import socket
from collections.abc import Callable

import pytest

from hgedge.preview import guard
from hgedge.preview.guard import GUESSES, Guesses, is_loopback
from tests.preview.conftest import PATIENCE_S, Run, ask

TOKEN = "correct-horse-battery"
EVERY = ("/", "/status.json", "/history.json", "/metrics", "/snapshot.jpg", "/stream", "/nothing-here")

Serve = Callable[..., Run]


def session(headers: dict[str, str]) -> str:
    """What a browser sends back of a cookie."""
    return headers["set-cookie"].partition(";")[0]


@pytest.mark.parametrize("path", EVERY)
def test_nothing_is_seen_without_the_token(serve: Serve, path: str) -> None:
    run = serve(token=TOKEN)
    run.publish()
    for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"hgedge-{run.preview.port}=wrong"}):
        assert ask(run.preview, path, **wrong).status == 401
    assert ask(run.preview, "/recording/start", "POST").status == 401


def test_the_token_is_needed_once_then_the_cookie_is_enough(serve: Serve) -> None:
    run = serve(token=TOKEN)
    page = ask(run.preview, f"/?token={TOKEN}")
    cookie = page.headers["set-cookie"]
    assert page.status == 200 and "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Domain" not in cookie
    assert TOKEN not in cookie  # it is no second place to guess the token
    again = ask(run.preview, "/status.json", Cookie=session(page.headers))
    assert again.status == 200 and "set-cookie" not in again.headers
    other = serve(token=TOKEN)  # another run, another session
    assert ask(other.preview, "/status.json", Cookie=session(page.headers)).status == 401


def test_prometheus_brings_the_token_as_a_bearer(serve: Serve) -> None:
    run = serve(token=TOKEN)
    assert ask(run.preview, "/metrics", Authorization=f"Bearer {TOKEN}").status == 200
    assert ask(run.preview, "/metrics", Authorization=f"Basic {TOKEN}").status == 401


def test_who_opens_the_page_without_a_token_is_asked_for_it(serve: Serve) -> None:
    answer = ask(serve(token=TOKEN).preview, "/")
    assert (
        answer.headers["content-type"].startswith("text/html") and b'<input name="token" type="password"' in answer.body
    )
    assert "form-action 'self'" in answer.headers["content-security-policy"]


def test_a_thousand_guesses_are_refused_and_never_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    run = serve(token=TOKEN)
    viewer = session(ask(run.preview, f"/?token={TOKEN}").headers)
    guesses = [secrets.token_hex(8) for _ in range(1000)]
    connection = http.client.HTTPConnection("127.0.0.1", run.preview.port, timeout=PATIENCE_S)
    seen = []
    for guess in guesses:
        connection.request("GET", f"/?token={guess}")
        answer = connection.getresponse()
        seen.append((answer.status, answer.getheader("Retry-After")))
        answer.read()
    connection.close()
    assert seen == [(401, None)] * GUESSES + [(429, "60")] * (1000 - GUESSES)
    assert ask(run.preview, "/", Authorization=f"Bearer {TOKEN}").status == 429  # the right one tells nothing either
    assert ask(run.preview, "/status.json", Cookie=viewer).status == 200  # who is in stays in
    assert "GET /: 401" in caplog.text and not any(guess in caplog.text for guess in guesses)
    assert TOKEN not in caplog.text


def test_guesses_are_counted_by_address_and_forgotten_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    guesses = Guesses()
    for _ in range(GUESSES):
        assert guesses.left("192.0.2.1") and guesses.left("2001:db8::1")
        guesses.count("192.0.2.1")
        guesses.count("2001:db8::1")
    assert not guesses.left("192.0.2.1") and guesses.left("192.0.2.2")
    assert not guesses.left("2001:db8::ffff:2")  # one customer has all of a /64
    assert guesses.left("2001:db8:0:1::1") and guesses.left("::ffff:192.0.2.2") and guesses.left("::ffff:192.0.2.3")
    monkeypatch.setattr(guard, "WINDOW_S", 0.0)
    guesses._ends_s = 0.0
    assert guesses.left("192.0.2.1")


def test_addresses_without_number_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_ADDRESSES", 50)
    guesses = Guesses()
    for number in range(1000):
        if guesses.left(f"10.0.{number // 256}.{number % 256}"):
            guesses.count(f"10.0.{number // 256}.{number % 256}")
    assert len(guesses._wrong) == 50 and not guesses.left("10.9.9.9") and guesses.left("10.0.0.1")


@pytest.mark.parametrize(
    ("token", "host", "status"),
    [
        (None, "localhost", 200),
        (None, "LocalHost:9000", 200),  # through a tunnel
        (None, "127.0.0.1:1", 200),
        (None, "[::1]:8080", 200),
        (None, "192.0.2.7", 200),  # nobody can point an address elsewhere
        (None, "rebound.example", 403),
        (None, "localhost.example:8080", 403),
        (None, "127.0.0.1.example", 403),
        (None, socket.gethostname() + ".example", 403),
        (TOKEN, "rebound.example", 403),
        (TOKEN, socket.gethostname(), 200),
        (TOKEN, socket.gethostname() + ".local:8080", 200),
    ],
)
def test_names_of_the_server(serve: Serve, token: str | None, host: str, status: int) -> None:
    run = serve(token=token)
    assert ask(run.preview, "/status.json", Host=host, Authorization=f"Bearer {TOKEN}").status == status


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {}, 409),  # answered: nothing can be recorded, its folder is a file
        ("POST", {"Origin": "http://{host}"}, 409),
        ("POST", {"Origin": "http://{host}", "Sec-Fetch-Site": "same-origin"}, 409),
        ("POST", {"Origin": "https://evil.example"}, 403),
        ("POST", {"Origin": "null"}, 403),
        ("POST", {"Origin": "http://{host}.evil.example"}, 403),
        ("POST", {"Origin": "http://localhost:1"}, 403),  # another program's page on this machine
        ("POST", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),  # a form of another site
        ("POST", {"Sec-Fetch-Site": "same-site"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),  # its <img>
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),  # its link
        ("GET", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),  # typed
        ("GET", {"Origin": "https://evil.example"}, 403),
    ],
)
def test_pages_of_other_sites(serve: Serve, tmp_path, method: str, headers: dict[str, str], status: int) -> None:
    (tmp_path / "file").touch()
    run = serve(recordings=tmp_path / "file")
    own = f"127.0.0.1:{run.preview.port}"
    filled = {name: value.format(host=own) for name, value in headers.items()}
    path = "/recording/start" if method == "POST" else "/"
    assert ask(run.preview, path, method, **filled).status == status


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)
