"""RTSP from a small server on loopback: motion JPEG in RTP (RFC 2435), inside the RTSP connection (RFC 2326)."""

from __future__ import annotations

import logging
import re
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from hgedge.errors import SourceError
from hgedge.sources import open_source, read_ahead

WH, OTHER_WH = (192, 64), (384, 256)
PACKET = 1200
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track\r\n"


def segments(jpeg: bytes, marker: int) -> list[bytes]:
    """The contents of a JPEG's segments of a kind, before its coded data."""
    found, position = [], 2
    while jpeg[position + 1] != 0xDA:
        length = int.from_bytes(jpeg[position + 2 : position + 4], "big")
        if jpeg[position + 1] == marker:
            found.append(jpeg[position + 4 : position + 2 + length])
        position += 2 + length
    return found


def packets(jpeg: bytes, wh: tuple[int, int], time_90khz: int, number: int) -> Iterator[bytes]:
    """RTP packets of a baseline 4:2:0 JPEG with the usual Huffman tables, as OpenCV writes them."""
    tables = b"".join(table[1:] for table in segments(jpeg, 0xDB))
    start = jpeg.index(b"\xff\xda")
    data = jpeg[start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big") : -2]
    for offset in range(0, len(data), PACKET):
        last = offset + PACKET >= len(data)
        rtp = struct.pack(">BBHII", 0x80, 26 | last << 7, number & 0xFFFF, time_90khz & 0xFFFFFFFF, 1)
        head = struct.pack(">IBBBB", offset, 1, 255, wh[0] // 8, wh[1] // 8)
        quantization = struct.pack(">BBH", 0, 0, len(tables)) + tables if offset == 0 else b""
        yield rtp + head + quantization + data[offset : offset + PACKET]
        number += 1


class Camera(socketserver.StreamRequestHandler):
    """Answers until PLAY, and then runs the test's script for this client."""

    server: CameraServer

    def handle(self) -> None:
        turn = min(self.server.clients, len(self.server.scripts) - 1)
        self.server.clients += 1
        self.number = 0
        try:
            while self.request_line() != "PLAY":
                pass
            self.server.scripts[turn](self)
        except (OSError, ValueError):  # the reader went away
            pass

    def request_line(self) -> str:
        """Read a request and answer it; its method."""
        method = self.rfile.readline().decode().split(" ")[0]
        if not method:
            raise ValueError("closed")
        headers = {}
        while (line := self.rfile.readline().decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if method == "PLAY" and self.server.silent:
            self.server.over.wait()
        answer = {"CSeq": headers.get("cseq", "0"), "Session": "1"}
        body = SDP if method == "DESCRIBE" else ""
        if method == "SETUP":
            answer["Transport"] = "RTP/AVP/TCP;unicast;interleaved=0-1"
        if body:
            answer |= {"Content-Type": "application/sdp", "Content-Length": str(len(body))}
        if method == "OPTIONS":
            answer["Public"] = "DESCRIBE, SETUP, PLAY, TEARDOWN"
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.items())
        self.wfile.write(f"RTSP/1.0 200 OK\r\n{head}\r\n{body}".encode())
        return method

    def send(self, jpeg: bytes, wh: tuple[int, int], seconds: float) -> None:
        """Send a picture."""
        for packet in packets(jpeg, wh, int(seconds * 90_000), self.number):
            self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
            self.number += 1


class CameraServer(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True

    def __init__(self, scripts: tuple[Callable[[Camera], None], ...], silent: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Camera)
        self.scripts, self.silent, self.clients, self.over = scripts, silent, 0, threading.Event()
        self.url = f"rtsp://127.0.0.1:{self.server_address[1]}/live"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def film(impatient) -> Iterator[Callable[..., CameraServer]]:
    """film(*scripts): an RTSP server."""
    servers: list[CameraServer] = []

    def start(*scripts: Callable[[Camera], None], silent: bool = False) -> CameraServer:
        servers.append(CameraServer(scripts, silent))
        return servers[-1]

    yield start
    for server in servers:
        server.over.set()
        server.shutdown()
        server.server_close()


def test_pictures_of_another_size_midway(film, pictures) -> None:
    _, number_of, jpeg = pictures

    def script(client: Camera) -> None:
        for index in range(60):
            wh = WH if index < 30 else OTHER_WH
            client.send(jpeg(index, wh), wh, index / 25)
            time.sleep(0.005)
        client.server.over.wait()

    with open_source(film(script).url) as source:
        frames = [next(source) for _ in range(60)]
    assert source.info.live and source.info.frame_wh == WH
    assert [number_of(frame.image) for frame in frames] == list(range(60))
    assert [frame.image.shape[1::-1] for frame in frames] == [WH] * 30 + [OTHER_WH] * 30
    assert np.diff([frame.timestamp_s for frame in frames]).min() > 0


def test_stalled_and_cut(film, pictures, readers, caplog: pytest.LogCaptureFixture) -> None:
    _, number_of, jpeg = pictures

    def script(first: int, stalls: bool = False) -> Callable[[Camera], None]:
        def run(client: Camera) -> None:
            for index in range(first, first + 20):
                client.send(jpeg(index), WH, index / 25)
                time.sleep(0.01)
            if stalls:
                client.server.over.wait()

        return run

    url = film(script(100), script(200, stalls=True), script(300)).url
    numbers = []
    with caplog.at_level(logging.WARNING), read_ahead(open_source(url)) as source:
        for frame in source:
            numbers.append(number_of(frame.image))
            if numbers[-1] == 319:
                break
    assert numbers == sorted(numbers) and {number // 100 for number in numbers} == {1, 2, 3}
    told = [re.sub(r"rtsp://\S+", "URL", message) for message in caplog.messages]
    assert told[0] == "URL was cut off after 20 frames; trying again in 0.1 s"
    assert "URL gave no frame for 1 s after 20 frames; trying again in 0.1 s" in told
    assert readers() == []


def test_one_that_never_plays(film) -> None:
    with pytest.raises(
        SourceError, match=r"rtsp://\S+ is not .*: it sent no video for 1 s; check that it is reachable"
    ):
        open_source(film(lambda client: None, silent=True).url)
