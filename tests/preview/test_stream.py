from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from hgedge.preview import Preview
from tests.preview.conftest import PATIENCE_S, Run, Viewer, ask, metric, until

VIEWERS, FRAMES = 20, 15
KERNEL_BYTES = 8 << 20  # above what both ends' kernels hold of a connection

Serve = Callable[..., Run]
Watch = Callable[..., Viewer]


def test_twenty_viewers_cost_one_encode(serve: Serve, watch: Watch) -> None:
    run = serve()
    viewers = [watch(run.preview) for _ in range(VIEWERS)]
    until(lambda: metric(run.preview, "hgedge_preview_viewers") == VIEWERS)
    with ThreadPoolExecutor(VIEWERS) as pool:
        for _ in range(FRAMES):
            number = run.publish()
            seen = set(pool.map(Viewer.read, viewers))
            assert len(seen) == 1 and next(iter(seen))[0] == number
    assert run.drawn == list(range(FRAMES))
    assert metric(run.preview, "hgedge_preview_encoded_pictures_total") == FRAMES


def test_who_reads_nothing_slows_nobody_and_gets_the_newest_afterwards(serve: Serve, watch: Watch) -> None:
    run = serve()
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    size = len(cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 80])[1])
    count = 3 * KERNEL_BYTES // size
    with socket.create_connection(("127.0.0.1", run.preview.port), timeout=PATIENCE_S) as deaf:
        deaf.sendall(b"GET /stream HTTP/1.0\r\nHost: localhost\r\n\r\n")
        viewer = watch(run.preview)
        for number in range(count):
            run.publish(draw=lambda: noise)
            assert viewer.read()[0] == number
        viewer.close()
        received = b""
        while f"X-Frame: {count - 1}\r\n".encode() not in received:  # starts to read
            received += deaf.recv(1 << 20)
    assert received.count(b"X-Frame:") < count / 2  # what it missed was not kept for it
    assert metric(run.preview, "hgedge_preview_encoded_pictures_total") == count


def test_viewers_who_leave_are_forgotten(serve: Serve, watch: Watch) -> None:
    run = serve()
    for _ in range(3):
        viewer = watch(run.preview)
        until(lambda: metric(run.preview, "hgedge_preview_viewers") == 1)
        viewer.answer.close()
        viewer.close()
        until(lambda: metric(run.preview, "hgedge_preview_viewers") == 0)  # though no frame comes
    run.publish()
    assert run.drawn == []


def test_a_newcomer_sees_the_newest_frame_first(serve: Serve, watch: Watch) -> None:
    run = serve()
    run.publish()
    assert watch(run.preview).read()[0] == 0
    until(lambda: metric(run.preview, "hgedge_preview_viewers") == 1)
    newest = [run.publish() for _ in range(30)][-1]
    assert watch(run.preview).read()[0] == newest


def test_the_end_is_a_clean_end_of_the_stream() -> None:
    with Preview(port=0) as preview:
        run = Run(preview)
        run.publish()
        viewer = Viewer(preview)
        assert viewer.read()[0] == 0
    assert viewer.read() is None
    assert viewer.answer.read() == b""  # an answer that broke off would be IncompleteRead
    viewer.close()


def test_browsers_get_a_multipart_stream_and_scripts_a_plain_one(serve: Serve, watch: Watch) -> None:
    run = serve()
    run.publish()
    image, script = watch(run.preview), watch(run.preview, Accept="application/octet-stream")
    assert image.answer.getheader("Content-Type") == "multipart/x-mixed-replace; boundary=frame"
    assert script.answer.getheader("Content-Type") == "application/octet-stream"
    assert image.read() == script.read()


def test_opencv_reads_the_stream(serve: Serve) -> None:
    run = serve()

    def frames() -> list[np.ndarray]:
        capture = cv2.VideoCapture(f"http://127.0.0.1:{run.preview.port}/stream", cv2.CAP_FFMPEG)
        found = [capture.read()[1] for _ in range(3)]
        capture.release()
        return found

    with ThreadPoolExecutor() as pool:
        reading = pool.submit(frames)
        while not reading.done():
            run.publish()
            time.sleep(0.01)
        assert [frame.shape for frame in reading.result()] == [(48, 64, 3)] * 3


def test_too_many_viewers_are_told_so(serve: Serve, monkeypatch: pytest.MonkeyPatch, watch: Watch) -> None:
    monkeypatch.setattr("hgedge.preview.handlers.MAX_VIEWERS", 2)
    run = serve()
    for _ in range(2):
        watch(run.preview)
    answer = ask(run.preview, "/stream")
    assert (answer.status, answer.body) == (429, b"429: There are 2 viewers already\n")
    assert answer.headers["retry-after"] == "60"


def test_a_viewer_that_has_gone_without_saying_so_is_let_go(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hgedge.preview.handlers.SLOW_S", 0.2)
    run = serve()
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    with socket.create_connection(("127.0.0.1", run.preview.port)) as deaf:
        deaf.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: metric(run.preview, "hgedge_preview_viewers") == 1)

        def gone() -> bool:
            run.publish(draw=lambda: noise)
            return metric(run.preview, "hgedge_preview_viewers") == 0

        until(gone)
