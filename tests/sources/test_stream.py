"""Streams over HTTP from a server on loopback that is cut, stalls, refuses, lies, and changes its size."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from hgedge.errors import SourceError
from hgedge.pose import Frame
from hgedge.sources import Source, open_source, opencv, read_ahead, reopen

JPEG_ERROR = 6.0  # grey levels, mean, that quality 95 may lose of a photograph
VERSION = [int(part) for part in cv2.__version__.split(".")[:2]]
BURST_S = 0.05  # what had come when the stream was opened is told apart by 1 ms each


def taken(source: Source, count: int) -> list[Frame]:
    return [next(source) for _ in range(count)]


def test_pictures_in_order_by_the_time_that_they_came(serve, motion, pictures) -> None:
    _, number_of, _ = pictures
    with open_source(serve(motion(30, fps=100)).url) as source:
        info, frames = source.info, taken(source, 30)
    assert (info.kind, info.frame_wh, info.fps, info.num_frames, info.path) == ("video", (192, 64), None, None, None)
    assert info.live and [number_of(frame.image) for frame in frames] == list(range(30))
    assert [frame.index for frame in frames] == list(range(30))
    arrived = [frame.captured_s - frames[0].captured_s for frame in frames]
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], arrived, atol=BURST_S)
    assert arrived[-1] < 30 / 25  # the rate that FFmpeg makes up


def test_a_real_video(serve, impatient, shared_data: Path) -> None:
    capture, originals = cv2.VideoCapture(str(shared_data / "videos" / "juggle_247f.mp4")), []
    for _ in range(6):
        originals.append(capture.read()[1])

    def script(client) -> None:
        client.begin()
        for image in originals:
            client.send(cv2.imencode(".jpg", image)[1].tobytes())
        client.hold()

    with read_ahead(open_source(serve(script).url)) as source:
        newest = next(source)
        while newest.index < 5:
            newest = next(source)
    assert newest.image.shape == (720, 1280, 3)
    errors = [np.abs(newest.image.astype(int) - original).mean() for original in originals]
    assert np.argmin(errors) == 5 and errors[5] <= JPEG_ERROR


def test_a_slow_consumer_sees_what_is_new(serve, pictures, readers) -> None:
    """100 pictures a second, taken 20 times a second: without dropping, the last would be 0.8 s old."""
    _, number_of, jpeg = pictures
    sent: list[float] = []

    def script(client) -> None:
        client.begin()
        started = time.monotonic()
        while True:
            sent.append(time.monotonic())
            client.send(jpeg(len(sent) - 1))
            time.sleep(max(0.0, started + len(sent) / 100 - time.monotonic()))

    numbers, ages, dropped = [], [], []
    with read_ahead(open_source(serve(script).url)) as source:
        for frame in source:
            numbers.append(number_of(frame.image))
            ages.append(time.monotonic() - sent[numbers[-1]])
            dropped.append(source.dropped)
            time.sleep(0.05)
            if len(numbers) == 20:
                break
    assert numbers == sorted(set(numbers)) and np.median(np.diff(numbers)) >= 3
    assert max(ages[-5:]) < 0.4
    assert dropped == sorted(dropped) and dropped[-1] >= numbers[-1] + 1 - len(numbers) > 0 and readers() == []


def test_a_size_that_changes_midway_is_passed_on(serve, pictures) -> None:
    _, number_of, jpeg = pictures
    sizes = [(192, 64), (96, 128), (960, 48), (192, 64)]

    def script(client) -> None:
        client.begin()
        for index, wh in enumerate(sizes):
            client.send(jpeg(index, wh))
        client.hold()

    with open_source(serve(script).url) as source:
        frames = taken(source, 4)
    assert [frame.image.shape[1::-1] for frame in frames] == sizes
    assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 3]


def test_damaged_pictures_are_left_out(serve, pictures, capfd: pytest.CaptureFixture[str]) -> None:
    _, number_of, jpeg = pictures

    def script(client) -> None:
        client.begin()
        for index in range(6):
            whole = jpeg(index, (384, 256))
            bad = {1: whole[: len(whole) // 2], 3: b"no picture at all", 4: b"\xff\xd8\xff\xd9"}
            client.send(bad.get(index, whole))
        client.hold()

    with open_source(serve(script).url) as source:
        frames = taken(source, 3)
    assert [number_of(frame.image) for frame in frames] == [0, 2, 5]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["video/mp4", "text/html", "application/octet-stream", "image/jpeg"])
def test_a_server_that_lies_about_its_type(serve, pictures, kind: str) -> None:
    _, number_of, jpeg = pictures

    def script(client) -> None:
        client.begin(kind)
        for index in range(9):
            client.send(jpeg(index))
        client.hold()

    with open_source(serve(script).url) as source:
        assert [number_of(frame.image) for frame in taken(source, 9)] == list(range(9))


def page(client) -> None:
    client.begin("multipart/x-mixed-replace; boundary=frame")
    client.wfile.write(b"<html>Sign in</html>" * 500)


def missing(client) -> None:
    client.begin("text/plain", status=404)


def no_pictures(client) -> None:
    client.begin()
    for _ in range(10_000):
        client.send(b"words " * 100)
        time.sleep(0.002)


def silent(client) -> None:
    client.hold()


def head_alone(client) -> None:
    client.begin()
    client.hold()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (page, "something answers there, but not with a video"),
        (missing, "something answers there, but not with a video"),
        (no_pictures, "no frame of it can be decoded"),
        (silent, "it sent no video for 1 s"),
        (head_alone, "it sent no video for 1 s"),
    ],
)
def test_what_cannot_be_opened_says_why(serve, impatient, script, why: str, capfd: pytest.CaptureFixture[str]) -> None:
    url = serve(script).url
    with pytest.raises(SourceError, match=f"{re.escape(url)} is not a picture or video that OpenCV can read: {why}"):
        open_source(url)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_what_refuses_or_keeps_silent(impatient, scheme: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(SourceError, match=r"can read: .*Connection refused; check that it is reachable"):
            open_source(f"{scheme}://{address}/live")
        listener.listen()
        with pytest.raises(SourceError, match="can read: it sent no video for 1 s; check that it is reachable"):
            open_source(f"{scheme}://{address}/live")


def test_waits_are_bounded() -> None:
    assert opencv.OPEN_TIMEOUT_MS <= 8_000 and opencv.READ_TIMEOUT_MS <= 4_000
    assert (reopen.FIRST_WAIT_S, reopen.LONGEST_WAIT_S) == (0.5, 10)
    assert opencv.timeouts(cv2.CAP_FFMPEG)[1::2] == [8_000, 4_000]


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/x", "http://[::1", "nonsense://127.0.0.1/x"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(SourceError, match=rf"{re.escape(url)} is not a picture or video that OpenCV can read: \S"):
        open_source(url)


def test_passwords_are_not_told(serve, motion, impatient, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(motion(3), missing)
    url = server.url.replace("http://", "http://anna:se:c@ret@")
    with open_source(url) as source:
        threading.Timer(0.5, source.stop).start()
        assert len(list(source)) == 3
    with pytest.raises(SourceError, match=r"http://anna:\*\*\*@127\.0\.0\.1:") as raised:
        open_source(url)
    assert "anna:***@" in caplog.text and "c@ret" not in caplog.text + str(raised.value)


def test_a_picture_and_a_whole_video_end(serve, pictures, tmp_path: Path) -> None:
    _, number_of, jpeg = pictures

    def picture(client) -> None:
        client.begin("image/jpeg", length=len(jpeg(77)))
        client.wfile.write(jpeg(77))

    with open_source(serve(picture).url + ".jpg") as source:
        frames = list(source)
        assert not source.info.live and [number_of(frame.image) for frame in frames] == [77]

    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (192, 64))
    for index in range(12):
        writer.write(pictures[0](index))
    writer.release()
    data = (tmp_path / "a.avi").read_bytes()

    def video(client) -> None:
        client.begin("video/x-msvideo", length=len(data))
        client.wfile.write(data)

    with read_ahead(open_source(serve(video).url)) as source:
        assert (source.info.live, source.info.num_frames, source.info.fps) == (False, 12, 10.0)
        assert [number_of(frame.image) for frame in source] == list(range(12))


def test_the_address_of_a_file_is_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a picture.png"
    cv2.imwrite(str(path), np.zeros((4, 5, 3), np.uint8))
    with open_source(path.as_uri()) as source:
        assert source.info.kind == "images" and source.info.path == path


def transport_stream(path: Path, images: list[np.ndarray]) -> bytes:
    """Pictures of 25 a second as MPEG-4 video in an MPEG-TS, which tells times."""
    height, width = images[0].shape[:2]
    with opencv.quiet():
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"FMP4"), 25, (width, height))
    for image in images:
        writer.write(image)
    writer.release()
    return path.read_bytes()


def test_times_of_the_stream_itself(serve, impatient, pictures, tmp_path: Path, caplog) -> None:
    """All at once, then cut, and then from 0 again."""
    numbered, number_of, _ = pictures

    def script(first: int) -> Callable:
        data = transport_stream(tmp_path / f"{first}.ts", [numbered(first + index) for index in range(40)])

        def run(client) -> None:
            client.begin("video/mp2t")
            client.wfile.write(data)

        return run

    with open_source(serve(script(100), script(200)).url) as source:
        frames = taken(source, 80)
    assert source.info.live and source.info.fps == 25
    assert [number_of(frame.image) for frame in frames] == [*range(100, 140), *range(200, 240)]
    steps = np.diff([frame.timestamp_s for frame in frames])
    np.testing.assert_allclose(np.delete(steps, 39), 1 / 25, atol=1e-6)
    assert 0 < steps[39]
    assert "was cut off after 40 frames; trying again in 0.1 s" in caplog.text


@pytest.mark.skipif(VERSION < [4, 13], reason="needs OpenCV 4.13, which follows the size of such a stream")
def test_a_size_that_changes_midway_is_scaled_to_the_first(serve, impatient, pictures, tmp_path: Path) -> None:
    numbered, number_of, _ = pictures
    data = transport_stream(tmp_path / "a.ts", [numbered(index) for index in range(40)])
    data += transport_stream(tmp_path / "b.ts", [numbered(index, (96, 128)) for index in range(40, 80)])

    def script(client) -> None:
        client.begin("video/mp2t")
        client.wfile.write(data)

    with open_source(serve(script).url) as source:
        frames = taken(source, 80)
    assert {frame.image.shape for frame in frames} == {(64, 192, 3)}
    assert [number_of(frame.image) for frame in frames] == list(range(80))
