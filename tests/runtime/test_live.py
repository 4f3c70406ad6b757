"""The loop over frames: what it counts, what it hands on, and what ends it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from hgedge.datasets.keypoint_sets import LSP14
from hgedge.pose import Frame
from hgedge.runtime.live import STAGES, run_source, stop_signals
from hgedge.runtime.pipeline import Pipeline
from hgedge.sources import Source, SourceInfo
from hgedge.spec import DecodeSpec, InputSpec

pytest.importorskip("cv2")


class Peak:
    """An engine whose every heatmap has its peak in cell (3, 5)."""

    def run(self, crops: np.ndarray) -> np.ndarray:
        heatmaps = np.zeros((len(crops), 14, 16, 16), np.float32)
        heatmaps[:, :, 5, 3] = 1
        return heatmaps

    def close(self) -> None: ...


class Collector:
    """Keeps what sinks are given."""

    def __init__(self) -> None:
        self.taken: list[tuple] = []

    def write(self, *given) -> None:
        self.taken.append(given)


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline(Peak(), InputSpec((64, 64)), LSP14, DecodeSpec())


def source(count: int) -> Source:
    def frames() -> Iterator[Frame]:
        for index in range(count):
            yield Frame(np.full((64, 64, 3), index, np.uint8), index, index / 25, 0.0, 1.0 + index, f"{index}.jpg")

    return Source(SourceInfo("images", (64, 64), num_frames=count), frames())


def test_every_frame_is_counted_handed_on_and_drawn(pipeline: Pipeline) -> None:
    records, pictures, seen = Collector(), Collector(), []
    summary = run_source(
        pipeline,
        source(5),
        [records],
        [pictures],
        draw=lambda image, poses: image + 100,
        on_frame=lambda frame, poses: seen.append(frame.index),
    )
    assert (summary.frames, summary.people, seen) == (5, 5, [0, 1, 2, 3, 4])
    assert [frame.index for frame, _, _ in records.taken] == seen
    for frame, poses, latency_ms in records.taken:
        np.testing.assert_allclose(poses[0].keypoints, np.tile([13.5, 21.5], (14, 1)), atol=1e-4)  # (i + 0.5) * 4 - 0.5
        assert tuple(latency_ms) == STAGES and latency_ms["capture"] == 1.0 + frame.index
    assert [(int(image[0, 0, 0]), name) for image, name in pictures.taken] == [(100 + i, f"{i}.jpg") for i in range(5)]
    assert summary.fps == pytest.approx(5 / summary.seconds, rel=0.5)


def test_percentiles_are_numpys(pipeline: Pipeline) -> None:
    summary = run_source(pipeline, source(7))
    expected = np.percentile(np.arange(1.0, 8.0), (50, 95))
    assert list(summary.latency_ms["capture"].values()) == pytest.approx(expected, abs=1e-3)  # rounded to a microsecond


def test_the_limit_ends_it_and_reads_no_further(pipeline: Pipeline) -> None:
    frames = source(5)
    assert run_source(pipeline, frames, limit=2).frames == 2
    assert next(frames).index == 2


def test_whoever_watches_may_end_it(pipeline: Pipeline) -> None:
    seen = []
    summary = run_source(
        pipeline, source(5), on_frame=lambda frame, poses: seen.append(frame), ended=lambda: len(seen) == 3
    )
    assert summary.frames == 3


def test_a_reader_that_went_away_ends_it(pipeline: Pipeline) -> None:
    class Gone:
        def write(self, *given) -> None:
            raise BrokenPipeError

    assert run_source(pipeline, source(5), [Gone()]).frames == 1


def test_no_frames_are_no_latencies(pipeline: Pipeline) -> None:
    summary = run_source(pipeline, source(0))
    assert (summary.frames, summary.people, summary.fps, summary.latency_ms) == (0, 0, 0.0, {})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_frame(pipeline: Pipeline, number: int) -> None:
    before = signal.getsignal(number)
    records = Collector()

    def interrupt(frame: Frame, poses: list) -> None:
        if frame.index == 1:
            os.kill(os.getpid(), number)

    summary = run_source(pipeline, source(5), [records], on_frame=interrupt)
    assert summary.frames == len(records.taken) == 2
    assert signal.getsignal(number) is before


def test_a_second_signal_is_a_keyboard_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), stop_signals() as stopped:
        assert not stopped()
        signal.raise_signal(signal.SIGINT)
        assert stopped()
        signal.raise_signal(signal.SIGINT)


def test_other_threads_hear_no_signals(pipeline: Pipeline) -> None:
    counted: list[int] = []
    work: Callable[[], None] = lambda: counted.append(run_source(pipeline, source(3)).frames)  # noqa: E731
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert counted == [3]
