"""Pulling weights from real HTTP servers on loopback that behave, misbehave and lie."""

from __future__ import annotations

import fcntl
import hashlib
import http.server
import logging
import re
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from hgedge.cache import cache_folder
from hgedge.errors import CheckpointError, ConfigError
from hgedge.models import pull as room
from hgedge.models import pulled_weights, zoo
from hgedge.models.pull import Patience, pull

CONTENT = np.random.default_rng(8).bytes(300_000)
HALF = len(CONTENT) // 2
QUICK = Patience(timeout_s=20, backoff_s=0)  # nothing waits for either to pass
FILE = f"bearpaw_hg1-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers each request with the next behaviour of the script; the last one stays."""

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers["Range"]))
        behaviour = server.script.pop(0) if len(server.script) > 1 else server.script[0]
        self.close_connection = True
        behaviour(self)

    def start(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def rest(self):
        """Where the client wants to begin."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        return int(match[1]) if match else 0

    def part(self, sent, claimed=None, content=CONTENT):
        """Answer as a server with Range does, but send only so many bytes."""
        body, begin = content[self.rest() :], self.rest()
        headers = {"Content_Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"} if begin else {}
        self.start(206 if begin else 200, Content_Length=len(body) if claimed is None else claimed, **headers)
        self.wfile.write(body[:sent])

    def log_message(self, *arguments):
        pass


def good(handler):
    handler.part(None)


def cut(size):
    return lambda handler: handler.part(size)


def without_range(handler):
    handler.start(Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT)


def status(code):
    return lambda handler: handler.send_error(code)


def body(content, **headers):
    def behaviour(handler):
        handler.start(**{"Content_Length": len(content), **headers})
        handler.wfile.write(content)

    return behaviour


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    """mirror(behaviour, ...) starts to answer so; `mirror.asked` are the requests, `mirror.url` the folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setitem(zoo.RELEASED, "hg1", FILE)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.asked = True, []
    server.over = threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/v0/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def script(*behaviours):
        server.script, server.asked = list(behaviours), []
        return server

    yield script
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "hgedge" / "models" / FILE


@pytest.fixture
def partial(target):
    return target.with_name(f"{FILE}.partial")


def put(path: Path, content: bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def ranges(server):
    return [wanted for _, wanted in server.asked]


def test_a_file_is_fetched_once(mirror, target, caplog):
    server, steps = mirror(good), []
    assert pulled_weights("hg1") is None
    with caplog.at_level(logging.INFO, "hgedge"):
        assert pull("hg1", server.url, lambda *step: steps.append(step), QUICK) == target
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == [FILE]
    assert server.asked == [(f"/v0/{FILE}", None)]
    assert steps and {step[0] for step in steps} == {"pull hg1, MiB"}
    assert "GPL-3.0" in caplog.messages[0]
    assert pull("hg1", server.url.rstrip("/"), patience=QUICK) == target == pulled_weights("hg1")
    assert len(server.asked) == 1


def test_the_licence_is_told_before_anything_is_asked(mirror, caplog):
    server, told = mirror(good), []

    class Listener(logging.Handler):
        def emit(self, record):
            told.append((record.getMessage(), len(server.asked)))

    listener, log = Listener(), logging.getLogger("hgedge.models.pull")
    log.addHandler(listener)
    try:
        with caplog.at_level(logging.INFO, "hgedge"):
            pull("hg1", server.url, patience=QUICK)
    finally:
        log.removeHandler(listener)
    assert told[0] == (f"hg1: {zoo.RELEASE_LICENCE}", 0)


def test_a_damaged_file_is_fetched_again(mirror, target):
    put(target, CONTENT[:-1] + b"?")
    assert pull("hg1", mirror(good).url, patience=QUICK).read_bytes() == CONTENT


def test_a_cut_connection_is_carried_on(mirror, caplog):
    server = mirror(cut(HALF), cut(1000), good)
    assert pull("hg1", server.url, patience=QUICK).read_bytes() == CONTENT
    assert ranges(server) == [None, f"bytes={HALF}-", f"bytes={HALF + 1000}-"]
    assert f"the connection ended after {HALF} of {len(CONTENT)} bytes; trying again" in caplog.messages[0]


def test_a_chunked_transfer_that_is_cut_is_carried_on(mirror, caplog):
    def chunked(handler):
        handler.start(Transfer_Encoding="chunked")
        handler.wfile.write(b"%x\r\n%b\r\n%x\r\n%b" % (1000, CONTENT[:1000], 1000, CONTENT[1000:1500]))

    server = mirror(chunked, good)
    assert pull("hg1", server.url, patience=QUICK).read_bytes() == CONTENT
    assert "IncompleteRead" in caplog.messages[0]
    assert ranges(server)[0] is None and 1000 <= int(ranges(server)[1][6:-1]) <= 1500


def test_a_stalled_server_is_asked_again(mirror, caplog):
    def stall(handler):
        handler.part(HALF)
        handler.wfile.flush()
        handler.server.over.wait()

    server = mirror(stall, good)
    assert pull("hg1", server.url, patience=Patience(timeout_s=1, backoff_s=0)).read_bytes() == CONTENT
    assert ranges(server)[:2] == [None, f"bytes={HALF}-"]
    assert "the server sends nothing; trying again" in caplog.messages[0]


def test_another_day_carries_on(mirror, target, partial):
    server = mirror(*[cut(1000)] * 5, good)
    with pytest.raises(CheckpointError, match=r"hg1 cannot be pulled from .*, 5 times; .* carries on after 5000 bytes"):
        pull("hg1", server.url, patience=QUICK)
    assert partial.read_bytes() == CONTENT[:5000] and not target.exists() and pulled_weights("hg1") is None
    assert pull("hg1", server.url, patience=QUICK).read_bytes() == CONTENT
    assert ranges(server)[-1] == "bytes=5000-" and not partial.exists()


def test_an_interrupt_keeps_what_came(mirror, target, partial):
    def interrupt(*_):
        raise KeyboardInterrupt

    server = mirror(good)
    with pytest.raises(KeyboardInterrupt):
        pull("hg1", server.url, interrupt, QUICK)
    kept = partial.stat().st_size
    assert kept > 0 and partial.read_bytes() == CONTENT[:kept] and not target.exists()
    assert pull("hg1", server.url, patience=QUICK).read_bytes() == CONTENT
    assert ranges(server)[-1] == f"bytes={kept}-"


def test_a_partial_file_that_is_whole_needs_no_server(mirror, partial):
    put(partial, CONTENT)
    server = mirror(status(500))
    assert pull("hg1", server.url, patience=QUICK).read_bytes() == CONTENT
    assert server.asked == []


def test_a_long_file_may_be_cut_more_often_than_a_short_one(mirror, monkeypatch):
    content = np.random.default_rng(9).bytes(8 * room.MIB)
    monkeypatch.setitem(zoo.RELEASED, "hg1", f"x-{hashlib.sha256(content).hexdigest()[:8]}.pth")
    server = mirror(*[lambda handler: handler.part(room.MIB, content=content)] * 9)
    assert pull("hg1", server.url, patience=QUICK).read_bytes() == content
    assert len(server.asked) == 8 > room.ATTEMPTS


@pytest.mark.parametrize(
    "behaviour",
    [without_range, status(416), lambda handler: handler.start(206, Content_Range="bytes 7-9/10", Content_Length=0)],
)
def test_a_server_that_cannot_carry_on_is_asked_for_all_of_it(mirror, partial, behaviour):
    put(partial, CONTENT[:HALF])
    server = mirror(behaviour, good)
    assert pull("hg1", server.url, patience=QUICK).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={HALF}-", None][: len(server.asked)]


def test_what_was_kept_of_another_file_is_dropped(mirror, partial):
    put(partial, b"?" * HALF)
    server = mirror(good)
    assert pull("hg1", server.url, patience=QUICK).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={HALF}-", None]


def test_a_redirect_carries_on_too(mirror, partial):
    put(partial, CONTENT[:HALF])
    server = mirror(lambda handler: handler.start(302, Location="/elsewhere", Content_Length=0), good)
    assert pull("hg1", server.url, patience=QUICK).read_bytes() == CONTENT
    assert server.asked[-1] == ("/elsewhere", f"bytes={HALF}-")


def test_a_length_that_is_too_long_does_no_harm(mirror):
    server = mirror(lambda handler: handler.part(None, claimed=len(CONTENT) + 1000))
    assert pull("hg1", server.url, patience=QUICK).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_without_a_length_the_end_is_the_end(mirror):
    def behaviour(handler):
        handler.start()
        handler.wfile.write(CONTENT)

    assert pull("hg1", mirror(behaviour).url, patience=QUICK).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("behaviour", "found"),
    [
        (body(b"<html>please log in</html>"), "26 bytes whose sha256 begins with a28d35ff"),
        (body(CONTENT[:-1] + b"?"), "300000 bytes"),
        (body(CONTENT + b"?"), "300001 bytes"),
        (lambda handler: handler.part(None, claimed=len(CONTENT) - 1000), "299000 bytes"),
        (body(b""), "0 bytes"),
    ],
)
def test_other_bytes_are_refused_and_not_kept(mirror, target, behaviour, found):
    server = mirror(behaviour)
    with pytest.raises(CheckpointError, match=f"gives another file: {found}.*, not with {FILE[-12:-4]}") as caught:
        pull("hg1", server.url, patience=QUICK)
    assert "--from URL" in str(caught.value) and caught.value.exit_code == 2
    assert list(target.parent.iterdir()) == [] and len(server.asked) == 1


def test_an_endless_file_ends(mirror, target, monkeypatch):
    def endless(handler):
        handler.start()
        try:
            while True:
                handler.wfile.write(bytes(1 << 16))
        except OSError:
            pass

    monkeypatch.setattr(room, "MAX_BYTES_A_PARAMETER", 1)
    with pytest.raises(CheckpointError, match="gives more than 3586960 bytes, too many for this network"):
        pull("hg1", mirror(endless).url, patience=QUICK)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("code", [403, 404, 410])
def test_a_refusal_is_final_but_keeps_what_is_there(mirror, partial, code):
    put(partial, CONTENT[:HALF])
    server = mirror(status(code))
    with pytest.raises(CheckpointError, match=f"the server answers {code} .* for http.*{FILE}; .*--from URL"):
        pull("hg1", server.url, patience=QUICK)
    assert len(server.asked) == 1 and partial.read_bytes() == CONTENT[:HALF]


@pytest.mark.parametrize("code", [408, 429, 500, 503])
def test_a_server_in_trouble_is_asked_again(mirror, code):
    assert pull("hg1", mirror(status(code), good).url, patience=QUICK).read_bytes() == CONTENT
    server = mirror(status(code))
    cache_folder(zoo.PULLED).joinpath(FILE).unlink()
    with pytest.raises(CheckpointError, match=f"the server answers {code} .*, 5 times"):
        pull("hg1", server.url, patience=QUICK)
    assert len(server.asked) == room.ATTEMPTS


def test_waiting_doubles(mirror, monkeypatch):
    waits = []
    monkeypatch.setattr(room.time, "sleep", waits.append)
    with pytest.raises(CheckpointError):
        pull("hg1", mirror(status(500)).url)
    assert waits == [1, 2, 4, 8]


def test_nobody_there(mirror):
    mirror(good)
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(CheckpointError, match="Connection refused, 5 times; see that the network is up"):
            pull("hg1", f"http://127.0.0.1:{taken.getsockname()[1]}/", patience=QUICK)


def test_a_server_that_speaks_no_http(mirror, target):
    server = mirror(lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n"))
    with pytest.raises(CheckpointError, match="the server does not speak HTTP, but says 'SSH-2.0.*, 5 times"):
        pull("hg1", server.url, patience=QUICK)
    assert list(target.parent.iterdir()) == []


def test_a_full_disk(mirror, target, partial):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full, which is always full")
    partial.parent.mkdir(parents=True)
    partial.symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match=f"{FILE} cannot be written: No space left on device; make room, or set"):
        pull("hg1", mirror(good).url, patience=QUICK)
    assert not target.exists()


def test_a_cache_that_is_no_folder(mirror, tmp_path):
    server = mirror(good)
    put(tmp_path / "cache", b"")
    with pytest.raises(CheckpointError, match="cannot be written: .*; make room, or set XDG_CACHE_HOME to a folder"):
        pull("hg1", server.url, patience=QUICK)
    assert server.asked == []


def test_two_at_once(mirror, partial):
    server = mirror(good)
    put(partial, CONTENT[:HALF])
    with open(partial, "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(CheckpointError, match="another program is pulling hg1 right now; wait for it"):
            pull("hg1", server.url, patience=QUICK)
    assert server.asked == [] and partial.read_bytes() == CONTENT[:HALF]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("default", "^'default' cannot be pulled; it comes with hgedge$"),
        ("hg3", "^'hg3' cannot be pulled; known: hg1, hg2, hg8$"),
        ("../hg1", "known: hg1"),
    ],
)
def test_names_that_are_not_published(name, message):
    with pytest.raises(ConfigError, match=message):
        pull(name)


@pytest.mark.parametrize(
    "url", ["", "file:///etc", "ftp://a/", "http://", "http://a b/", "http://a:x/", "http://[/", "mirror", "http://ä/"]
)
def test_places_that_are_none(url):
    with pytest.raises(ConfigError, match="--from must be the http or https address of a folder, but got"):
        pull("hg1", url)


def test_published_names_end_in_digits_of_their_sha256():
    assert set(zoo.RELEASED) == {"hg1", "hg2", "hg8"}
    assert all(re.fullmatch(rf"bearpaw_{name}-[0-9a-f]{{8}}\.pth", file) for name, file in zoo.RELEASED.items())
    assert zoo.RELEASE_URL.startswith("https://") and "GPL-3.0" in zoo.RELEASE_LICENCE


def test_a_cache_folder_that_is_relative_does_not_count(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder(zoo.PULLED) == tmp_path / ".cache" / "hgedge" / "models"
