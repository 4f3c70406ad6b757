"""Live streams that are lost and come back: cut, stalled, refused, and closed while they are away."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from hgedge.pose import Frame
from hgedge.sources import Source, open_source, read_ahead
from hgedge.sources import source as source_module

BURST_S = 0.05  # what had come when the stream was opened is told apart by 1 ms each


def taken(source: Source, count: int) -> list[Frame]:
    return [next(source) for _ in range(count)]


def test_a_stream_that_is_cut_comes_back(serve, motion, impatient, pictures, caplog: pytest.LogCaptureFixture) -> None:
    """Cut between two pictures, and within one; numbers and times go on."""
    _, number_of, jpeg = pictures

    def cut_within(client) -> None:
        client.begin()
        for index in range(10, 13):
            client.send(jpeg(index))
        client.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 900\r\n\r\n" + jpeg(13)[:600])

    with caplog.at_level(logging.WARNING), open_source(serve(motion(5), cut_within, motion(5, first=20)).url) as source:
        frames = taken(source, 13)
    assert [number_of(frame.image) for frame in frames] == [*range(5), *range(10, 13), *range(20, 25)]
    assert [frame.index for frame in frames] == list(range(13))
    times = np.array([frame.timestamp_s for frame in frames])
    arrived = np.array([frame.captured_s for frame in frames])
    assert np.diff(times).min() > 0 and np.abs(times - (arrived - arrived[0])).max() < BURST_S
    assert times[5] - times[4] >= 0.1  # the wait before the first try
    assert [re.sub(r"http://\S+", "URL", message.partition(" s")[0]) for message in caplog.messages[::2]] == [
        "URL was cut off after 5 frames; trying again in 0.1",
        "URL was cut off after 3 frames; trying again in 0.1",
    ]
    assert all(" is back after 0." in message for message in caplog.messages[1::2])


@pytest.fixture
def states() -> Iterator[Callable[[Source], list[str]]]:
    """states(source): the states that a source goes through, noted by a thread as long as the test runs."""
    over, threads = threading.Event(), []

    def watch(source: Source) -> list[str]:
        seen: list[str] = []

        def look() -> None:
            while not over.wait(0.005):
                state = source.state
                if seen[-1:] != [state]:
                    seen.append(state)

        threads.append(threading.Thread(target=look))
        threads[-1].start()
        return seen

    yield watch
    over.set()
    for thread in threads:
        thread.join()


def test_a_stream_that_stalls_is_opened_again(
    serve, motion, impatient, pictures, states, readers, caplog: pytest.LogCaptureFixture, monkeypatch
) -> None:
    monkeypatch.setattr(source_module, "STALLED_S", 0.2)

    def stalls(client) -> None:
        motion(5)(client)
        client.hold()

    def goes_on(client) -> None:
        motion(10**6, fps=50, first=50)(client)

    with read_ahead(open_source(serve(stalls, goes_on).url)) as source:
        seen, newest = states(source), next(source)
        while pictures[1](newest.image) < 55:
            newest = next(source)
        time.sleep(0.1)
    assert seen == ["live", "stalled", "retrying", "live"]
    assert "gave no frame for 1 s after 5 frames; trying again in 0.1 s" in caplog.text
    assert newest.timestamp_s > 0.6 and readers() == []


def test_tries_are_ever_farther_apart_and_each_is_logged_once(
    serve, motion, impatient, states, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(motion(3))
    source = open_source(server.url)
    seen = states(source)
    assert len(taken(source, 3)) == 3
    server.end()  # refuses from now on
    port = server.server_address[1]
    back = threading.Timer(1.2, lambda: serve(motion(3, first=90), port=port))
    back.start()
    with source:
        assert next(source).index == 3
    back.join()
    waits = [float(wait) for wait in re.findall(r"trying again in (\S+) s", caplog.text)]
    assert waits == [0.1, 0.2, 0.4, 0.4, 0.4, 0.4][: len(waits)] and len(waits) >= 4
    assert caplog.text.count("Connection refused") == len(waits) - 1 and caplog.text.count("is back after") == 1
    assert seen[:2] == ["live", "retrying"]


@pytest.mark.parametrize("ended_while", ["stalled", "retrying"])
def test_closing_what_is_lost_leaves_no_thread(serve, motion, impatient, readers, ended_while: str) -> None:
    def first(client) -> None:
        motion(3)(client)
        if ended_while == "stalled":
            client.hold()

    with read_ahead(open_source(serve(first, lambda client: client.hold()).url)) as source:
        next(source)
        while ended_while == "retrying" and source.state != "retrying":
            time.sleep(0.01)
        threading.Timer(0.2, source.stop).start()
        list(source)
    assert readers() == []
