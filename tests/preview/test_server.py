from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hgedge.errors import ConfigError
from hgedge.pose import Frame
from hgedge.preview import Preview, new_token
from hgedge.sinks.jsonl import frame_record
from tests.preview.conftest import Run, ask, metric, person, until

ABOUT = {"bundle": "default-int8-openvino", "precision": "int8", "backend": {"name": "openvino", "version": "1"}}
GREY_ERROR = 3  # levels that JPEG may change of a flat grey

Serve = Callable[..., Run]


def test_nothing_is_drawn_or_encoded_while_nobody_watches(serve: Serve) -> None:
    run = serve()
    for _ in range(200):
        run.publish()
    assert ask(run.preview, "/status.json").json["frames"] == 200
    assert run.drawn == [] and metric(run.preview, "hgedge_preview_encoded_pictures_total") == 0


def test_publish_returns_while_a_picture_is_being_drawn(serve: Serve) -> None:
    run, drawing, go_on = serve(), threading.Event(), threading.Event()

    def draw() -> np.ndarray:
        drawing.set()
        assert go_on.wait(60)
        return np.zeros((48, 64, 3), np.uint8)

    with ThreadPoolExecutor() as pool:
        run.publish(draw=draw)
        first = pool.submit(ask, run.preview, "/snapshot.jpg")
        assert drawing.wait(60)
        for _ in range(500):
            run.publish()  # would wait for ever
        assert ask(run.preview, "/status.json").json["frames"] == 501
        go_on.set()
        assert first.result().status == 200


def test_snapshot_is_the_newest_frame_whenever_it_is_asked_for(serve: Serve) -> None:
    run = serve()
    missing = ask(run.preview, "/snapshot.jpg")
    assert (missing.status, missing.body) == (404, b"404: No frame yet\n")
    for _ in range(2):
        number = [run.publish() for _ in range(40)][-1]
        answer = ask(run.preview, "/snapshot.jpg")
        assert answer.headers["content-type"] == "image/jpeg"
        picture = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (48, 64, 3) and abs(float(picture.mean()) - number) <= GREY_ERROR
    assert ask(run.preview, "/snapshot.jpg").body == answer.body and run.drawn == [39, 79]  # encoded once


def test_large_pictures_are_made_smaller(serve: Serve) -> None:
    run = serve()
    run.size_hw = (1440, 2560)
    run.publish()
    picture = cv2.imdecode(np.frombuffer(ask(run.preview, "/snapshot.jpg").body, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (720, 1280, 3)


def test_status_holds_the_frame_as_jsonl_writes_it(serve: Serve) -> None:
    run = serve(about={**ABOUT, "accuracy": {"PCK@0.2 mean": float("nan")}})
    empty = ask(run.preview, "/status.json").json
    assert (empty["state"], empty["frame"], empty["people"], empty["frames"]) == ("waiting", None, [], 0)
    people, latency_ms = [person(3), person(7)], {"infer": 8.0, "total": 9.5}
    frame = Frame(np.zeros((48, 64, 3), np.uint8), 17, 1.7, time.monotonic(), 1.5)
    run.preview.publish(frame, lambda: frame.image, people, latency_ms, float("nan"), dropped=5)
    latency_ms.clear()  # what is published is what was given
    status = ask(run.preview, "/status.json").json
    expected = frame_record(frame, people, {"infer": 8.0, "total": 9.5}, float("nan"))
    assert {key: status[key] for key in expected} == expected
    assert [each["id"] for each in status["people"]] == [3, 7] and status["age_ms"] is None
    assert (status["state"], status["dropped"], status["viewers"]) == ("live", 5, 0)
    assert status["about"] == {**ABOUT, "accuracy": {"PCK@0.2 mean": None}}  # NaN is no JSON
    assert status["recording"] == {"active": False, "name": None, "seconds": 0.0, "message": ""}


def test_metrics_are_what_was_published(serve: Serve) -> None:
    run = serve(about=ABOUT)
    for dropped in (0, 2, 2, 7):
        run.publish(people=[person(0), person(1)], dropped=dropped, latency_ms={"infer": 8.0, "draw": float("nan")})
    text = ask(run.preview, "/metrics").body.decode()
    found = {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels, reverse=True))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found[("hgedge_frames_total",)] == 4 and found[("hgedge_people_total",)] == 8
    assert found[("hgedge_dropped_frames_total",)] == 7 and found[("hgedge_people_in_frame",)] == 2
    assert found[("hgedge_latency_seconds_count", "infer")] == 4
    assert found[("hgedge_latency_seconds_sum", "infer")] == pytest.approx(0.032)
    assert found[("hgedge_latency_seconds_bucket", "infer", "0.005")] == 0
    assert found[("hgedge_latency_seconds_bucket", "infer", "0.01")] == 4
    assert ("hgedge_latency_seconds_count", "draw") not in found or not found["hgedge_latency_seconds_count", "draw"]
    assert found[("hgedge_engine_info", "int8", "default-int8-openvino", "openvino")] == 1
    assert found[("hgedge_recording",)] == found[("hgedge_preview_viewers",)] == 0


def test_a_picture_that_cannot_be_drawn_is_told_once_and_later_ones_are_shown(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    run = serve()

    def fail() -> np.ndarray:
        raise ValueError("no paint")

    with ThreadPoolExecutor() as pool:
        run.publish(draw=fail)
        picture = pool.submit(ask, run.preview, "/snapshot.jpg")
        until(lambda: caplog.records)
        for _ in range(3):
            run.publish(draw=fail)
        run.publish()
        assert picture.result().status == 200
    assert [record.message for record in caplog.records] == [
        "the preview cannot show frame 0; further failures are not reported"
    ]


def test_a_taken_port_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        message = rf"cannot listen on 127\.0\.0\.1:{port}: another program has the port; end that one, or give another"
        with pytest.raises(ConfigError, match=message):
            Preview(port=port)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "0.0.0.0"}, r"everyone who reaches 0\.0\.0\.0 could see the preview; give it a token"),
        ({"host": "::"}, "everyone who reaches :: could see"),
        ({"host": ""}, "everyone who reaches this machine could see"),
        ({"host": "192.0.2.1"}, r"give it a token \(--preview-token\), or keep it to 127\.0\.0\.1"),
        ({"host": "localhost.example"}, "everyone who reaches"),
        ({"host": "192.0.2.1", "token": new_token()}, r"192\.0\.2\.1:0: 192\.0\.2\.1 is no address of this machine"),
        ({"host": "no such name", "token": new_token()}, "no such name is no address of this machine"),
        ({"token": "1234567"}, "token has 7 characters, expected at least 8"),
        ({"host": "a" * 70, "token": new_token()}, "is no address of this machine"),
        ({"token": ""}, "token has 0 characters"),
        ({"port": 70000}, "a port is a number from 1 to 65535, but got 70000"),
    ],
)
def test_addresses_and_tokens_that_cannot_be(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Preview(**{"port": 0, **settings})


def test_the_port_is_free_again_after_the_end(serve: Serve) -> None:
    with Preview(port=0) as first:
        port = first.port
        assert first.url == f"http://127.0.0.1:{port}/"
        assert ask(first, "/").status == 200
    with Preview(port=port) as second:
        assert ask(second, "/").status == 200
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("preview")]


def test_url_brings_the_token() -> None:
    with Preview(port=0, token="a token/with&signs") as preview:
        assert preview.url == f"http://127.0.0.1:{preview.port}/?token=a%20token%2Fwith%26signs"
        path = preview.url.partition(str(preview.port))[2]
        assert ask(preview, path).status == 200
    assert len({new_token() for _ in range(100)}) == 100 and min(len(new_token()) for _ in range(100)) == 22


def test_the_page_needs_nothing_from_elsewhere(serve: Serve) -> None:
    page = ask(serve().preview, "/")
    text = page.body.decode()
    outside = [word for word in ("src=", "@import", "url(", "https://", "//cdn") if word in text]
    assert outside == []
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert page.headers["referrer-policy"] == "no-referrer" and page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("library", ["tornado", "prometheus_client"])
def test_a_missing_library_says_how_to_install_it(library: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; import hgedge.preview"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "BackendUnavailable: the preview needs a server, but it is not here" in done.stderr
    assert "install it with: pip install 'hgedge[preview]'" in done.stderr
