"""The loop over frames: what it counts, what it hands on and when, and what ends it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator

import numpy as np
import pytest

from hgedge.datasets.keypoint_sets import LSP14
from hgedge.errors import KernelError, SourceError
from hgedge.pose import Frame
from hgedge.runtime.live import Result, run_source
from hgedge.runtime.live.loop import AHEAD
from hgedge.runtime.live.signals import stop_signals
from hgedge.runtime.pipeline import Pipeline
from hgedge.sources import Source, SourceInfo
from hgedge.spec import DecodeSpec, InputSpec

pytest.importorskip("cv2")

STAGES = ["capture", "preprocess", "infer", "decode", "total"]
PATIENCE_S = 20.0  # for what comes at once unless it never comes


class Peak:
    """An engine whose every heatmap has its peak in cell (3, 5); `before` is called with the number of each call."""

    def __init__(self, before: Callable[[int], None] = lambda number: None) -> None:
        self.calls, self.before = 0, before

    def run(self, crops: np.ndarray) -> np.ndarray:
        self.before(self.calls)
        self.calls += 1
        heatmaps = np.zeros((len(crops), 14, 16, 16), np.float32)
        heatmaps[:, :, 5, 3] = 1
        return heatmaps

    def close(self) -> None: ...


def pipeline_of(engine: Peak) -> Pipeline:
    return Pipeline(engine, InputSpec((64, 64)), LSP14, DecodeSpec())


@pytest.fixture
def pipeline() -> Pipeline:
    return pipeline_of(Peak())


def frame(index: int, capture_ms: float = 1.0) -> Frame:
    image = np.full((64, 64, 3), index % 256, np.uint8)
    return Frame(image, index, index / 25, time.monotonic(), capture_ms, f"{index}.jpg")


def source(count: int) -> Source:
    return Source(SourceInfo("images", (64, 64), num_frames=count), (frame(i, 1.0 + i) for i in range(count)))


def test_every_frame_is_counted_and_handed_on_in_order(pipeline: Pipeline) -> None:
    taken: list[Result] = []
    summary = run_source(pipeline, source(9), [taken.append])
    assert [result.frame.index for result in taken] == list(range(9))
    assert (summary.frames, summary.dropped, summary.people, summary.ids) == (9, 0, 9, 1)
    for result in taken:
        expected = np.tile([13.5, 21.5], (14, 1))  # (i + 0.5) * 4 - 0.5
        np.testing.assert_allclose(result.poses[0].keypoints, expected, atol=1e-4)
        assert list(result.latency_ms) == STAGES and result.latency_ms["capture"] == 1.0 + result.frame.index
        assert (result.state, result.dropped) == ("live", 0) and result.age_ms > 0
    assert list(summary.latency_ms) == [*STAGES, "output"]
    assert summary.fps == pytest.approx(9 / summary.seconds, rel=0.5)


def test_a_picture_is_drawn_once_for_all_who_ask(pipeline: Pipeline) -> None:
    drawn, pictures = [], []

    def draw(image: np.ndarray, poses: list) -> np.ndarray:
        drawn.append(len(poses))
        return image + 100

    def take(result: Result) -> None:
        if result.frame.index != 1:
            pictures.append(int(result.picture()[0, 0, 0]))

    run_source(pipeline, source(3), [take, take], draw=draw)
    assert (drawn, pictures) == ([1, 1], [100, 100, 102, 102])


def test_percentiles_are_numpys(pipeline: Pipeline) -> None:
    summary = run_source(pipeline, source(7))
    expected = np.percentile(np.arange(1.0, 8.0), (50, 95, 99))
    assert list(summary.latency_ms["capture"]) == ["p50", "p95", "p99"]
    assert list(summary.latency_ms["capture"].values()) == pytest.approx(expected, abs=1e-3)  # rounded to a microsecond


def test_the_limit_ends_it_and_no_frame_more_is_estimated() -> None:
    engine = Peak()
    assert run_source(pipeline_of(engine), source(50), limit=2).frames == 2
    assert engine.calls == 2


def test_whoever_watches_may_end_it(pipeline: Pipeline) -> None:
    taken: list[Result] = []
    summary = run_source(pipeline, source(50), [taken.append], ended=lambda: len(taken) == 3)
    assert summary.frames == len(taken) == 3


def test_a_reader_that_went_away_ends_it(pipeline: Pipeline) -> None:
    def gone(result: Result) -> None:
        raise BrokenPipeError

    assert run_source(pipeline, source(50), [gone]).frames == 1


def test_no_frames_are_no_latencies(pipeline: Pipeline) -> None:
    summary = run_source(pipeline, source(0))
    assert (summary.frames, summary.people, summary.ids, summary.fps) == (0, 0, 0, 0.0)
    assert (summary.latency_ms, summary.age_ms) == ({}, {})


def test_the_next_frame_is_estimated_while_one_is_put_out() -> None:
    begun = [threading.Event() for _ in range(5)]
    met = []

    def take(result: Result) -> None:
        if result.frame.index < 4:
            met.append(begun[result.frame.index + 1].wait(PATIENCE_S))

    run_source(pipeline_of(Peak(before=lambda number: begun[number].set())), source(5), [take])
    assert met == [True] * 4


@pytest.mark.parametrize(("live", "most"), [(False, AHEAD + 1), (True, 2)])  # one of them is being put out
def test_a_slow_output_holds_everything_back(live: bool, most: int) -> None:
    engine, taken, waiting = Peak(), [], []

    def take(result: Result) -> None:
        time.sleep(0.01)
        taken.append(result)
        waiting.append(engine.calls - len(taken) + 1)

    def frames() -> Iterator[Frame]:
        for index in range(40):
            yield frame(index)

    info = SourceInfo("camera" if live else "video", (64, 64), num_frames=None if live else 40)
    summary = run_source(pipeline_of(engine), Source(info, frames()), [take])
    indices = [result.frame.index for result in taken]
    assert max(waiting) <= most and indices == sorted(set(indices))
    if live:
        assert summary.dropped == 40 - len(taken) > 0
        assert taken[-1].frame.index == 39 and taken[-1].dropped == summary.dropped
    else:
        assert indices == list(range(40)) and summary.dropped == 0


def tearing(good: int) -> Generator[Frame, None, None]:
    for index in range(good):
        yield frame(index)
    raise SourceError("the film tears")


def fail_at(wanted: int) -> Callable[[int], None]:
    def fail(number: int) -> None:
        if number == wanted:
            raise KernelError("the engine stops")

    return fail


@pytest.mark.parametrize(
    ("frames", "engine", "message"),
    [(lambda: tearing(4), Peak(), "the film tears"), (lambda: tearing(9), Peak(fail_at(4)), "the engine stops")],
    ids=["source", "engine"],
)
def test_what_came_before_an_error_is_handed_on(frames, engine: Peak, message: str) -> None:
    taken: list[int] = []
    released = threading.Event()
    torn = Source(SourceInfo("video", (64, 64), num_frames=9), frames(), released.set)
    with pytest.raises((SourceError, KernelError), match=message):
        run_source(pipeline_of(engine), torn, [lambda result: taken.append(result.frame.index)])
    assert taken == [0, 1, 2, 3] and released.is_set()


def test_an_output_that_fails_ends_every_thread(pipeline: Pipeline) -> None:
    def full(result: Result) -> None:
        if result.frame.index == 2:
            raise SourceError("the disk is full")

    before, released = threading.active_count(), threading.Event()
    frames = Source(SourceInfo("video", (64, 64), num_frames=50), tearing(50), released.set)
    with pytest.raises(SourceError, match="the disk is full"):
        run_source(pipeline, frames, [full])
    assert released.is_set() and threading.active_count() == before


class Stalled:
    """A live source that gives two frames and then waits until nobody wants more."""

    def __init__(self) -> None:
        info = SourceInfo("camera", (64, 64))
        self.source = Source(info, self.frames())

    def frames(self) -> Generator[Frame, None, None]:
        yield frame(0)
        time.sleep(0.1)  # so that the first is not dropped
        yield frame(1)
        while not self.source.status.stopped:
            time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_nothing_comes(pipeline: Pipeline, number: int) -> None:
    before, states, taken = signal.getsignal(number), [], []

    def idle(state: str) -> None:
        states.append(state)
        if len(taken) == 2:
            os.kill(os.getpid(), number)

    summary = run_source(pipeline, Stalled().source, [taken.append], idle=idle)
    assert summary.frames == 2 and set(states) == {"live"}
    assert signal.getsignal(number) is before


def test_a_signal_ends_it_after_the_result_at_hand(pipeline: Pipeline) -> None:
    taken: list[Result] = []

    def interrupt(result: Result) -> None:
        taken.append(result)
        if result.frame.index == 1:
            os.kill(os.getpid(), signal.SIGINT)

    assert run_source(pipeline, source(50), [interrupt]).frames == len(taken) == 2


def test_a_second_signal_is_a_keyboard_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), stop_signals() as stopped:
        assert not stopped()
        signal.raise_signal(signal.SIGINT)
        assert stopped()
        signal.raise_signal(signal.SIGINT)


def test_other_threads_hear_no_signals(pipeline: Pipeline) -> None:
    counted: list[int] = []
    thread = threading.Thread(target=lambda: counted.append(run_source(pipeline, source(3)).frames))
    thread.start()
    thread.join()
    assert counted == [3]
