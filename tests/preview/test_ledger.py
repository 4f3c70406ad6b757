from __future__ import annotations

import time

import numpy as np
import pytest

from hgedge.pose import Frame
from hgedge.preview.ledger import SECONDS, STALL_FRAMES, STALL_S, Ledger, Shot, plain


def add(ledger: Ledger, number: int, moment_s: float, state: str = "live", **latency_ms: float) -> None:
    frame = Frame(np.zeros((4, 4, 3), np.uint8), number, 0.0, moment_s, 1.0)
    ledger.add(Shot(number, frame, lambda: frame.image, [], latency_ms, 20.0, 0, moment_s), state)


def test_states() -> None:
    ledger = Ledger()
    assert (ledger.state(), ledger.fps(), ledger.silent_s()) == ("waiting", 0.0, 0.0)
    add(ledger, 0, time.monotonic())
    assert ledger.state() == "live"
    ledger.tell("retrying")
    assert (ledger.state(), ledger.fps()) == ("retrying", 0.0)
    add(ledger, 1, time.monotonic())
    assert ledger.state() == "live"  # frames come again
    ledger.end()
    assert (ledger.state(), ledger.fps()) == ("ended", 0.0)


def test_silence_is_a_stall_though_nobody_says_so() -> None:
    ledger = Ledger()
    for number in range(10):
        add(ledger, number, time.monotonic() - STALL_S - 2 + number / 10)
    status = ledger.status()
    assert (status["state"], status["fps"]) == ("stalled", 0.0) and STALL_S < status["silent_s"] < STALL_S + 2


@pytest.mark.parametrize(("ago", "state"), [(STALL_FRAMES - 1, "live"), (STALL_FRAMES + 1, "stalled")])
def test_a_slow_engine_is_no_stall(ago: int, state: str) -> None:
    ledger = Ledger()
    period_s = 4.0
    for number in range(5):
        add(ledger, number, time.monotonic() - (ago + 4 - number) * period_s)
    assert ledger.state() == state


@pytest.mark.parametrize("fps", [0.2, 7.0, 30.0, 400.0])
def test_rate_is_that_of_the_last_frames(fps: float) -> None:
    ledger, now = Ledger(), time.monotonic()
    for number in range(20):
        add(ledger, number, now - 1000 + number)  # another rate, long ago
    count = max(2, int(3 * fps))
    for number in range(count):
        add(ledger, number, now - (count - 1 - number) / fps)
    assert ledger.fps() == pytest.approx(fps, rel=0.01)


def test_history_is_means_by_second_with_gaps() -> None:
    ledger = Ledger()
    first = int(time.monotonic()) - 10
    for second, infer in ((0, (4.0, 6.0)), (1, (8.0,)), (5, (10.0, 20.0, 30.0)), (10, (99.0,))):
        for index, value in enumerate(infer):
            add(ledger, index, first + second + index / 10, infer=value, draw=float("nan"))
    history = ledger.history()
    length = int(time.monotonic()) - first  # the second that runs is not told
    expected = {0: (2, 5.0), 1: (1, 8.0), 5: (3, 20.0)} | ({10: (1, 99.0)} if length > 10 else {})
    assert history["fps"] == [expected.get(second, (0, None))[0] for second in range(length)]
    assert history["latency_ms"]["infer"] == [expected.get(second, (0, None))[1] for second in range(length)]
    assert history["latency_ms"]["draw"] == [None] * length
    assert history["age_ms"] == [20.0 if second in expected else None for second in range(length)]


def test_history_is_two_minutes() -> None:
    ledger, now = Ledger(), time.monotonic()
    for second in range(500):
        add(ledger, second, now - 500 + second, infer=1.0)
    history = ledger.history()
    assert {len(history["fps"]), len(history["age_ms"]), len(history["latency_ms"]["infer"])} == {SECONDS}


def test_plain_is_what_json_holds() -> None:
    found = plain({"a": (1, float("inf")), 2: {"b": None, "c": True}, "d": np.float32(0.5), "e": b"x"})
    assert found == {"a": [1, None], "2": {"b": None, "c": True}, "d": "0.5", "e": "b'x'"}
