"""Frames under way: in order, a frame ahead, in threads, without growth."""

import os
import threading

import cv2
import numpy as np
import pytest

from hgedge import sources
from hgedge.errors import SourceError
from hgedge.pose import Frame
from hgedge.runtime.cuda.context import driver
from hgedge.runtime.pixels import bgr_from
from hgedge.sources import Source, SourceInfo
from hgedge.spec import InputSpec
from tests.runtime.cuda.gpu.pipeline.expected import boxes_in, check, check_same, current_context, laid_out, reference
from tests.runtime.cuda.gpu.pipeline.numpy_engine import StreamSession

pytestmark = pytest.mark.gpu

PAGE = 2**21  # bytes; what a GPU's memory is handed out in


def test_tickets_in_any_order_and_frames_that_change_at_once(made, astronaut):
    """The caller may overwrite its frame once submit returns; the device reads its own copy, of people too."""
    pipeline, frame = made(), np.empty_like(astronaut)
    pictures = [np.roll(astronaut, 40 * shift, axis=1) for shift in range(8)]
    people = [boxes_in(astronaut, 1 + 5 * (number % 4), seed=number) for number in range(8)]
    expected = [reference(*given) for given in zip(pictures, people)]
    tickets = []
    for picture, boxes in zip(pictures, people):
        frame[:] = picture
        tickets.append(pipeline.submit(frame, boxes))
        frame[:] = 0
    for number in (7, 0, 6, 1, 2, 5, 3, 4, 0):
        check(pipeline.collect(tickets[number]), expected[number])
    one, two = (pipeline.submit(picture, boxes) for picture, boxes in zip(pictures[:2], people))
    check(pipeline.collect(two), expected[1])
    three = pipeline.submit(pictures[2], people[2])  # goes where one still is
    check(pipeline.collect(three), expected[2])
    check(pipeline.collect(one), expected[0])


@pytest.fixture
def folder(astronaut, tmp_path):
    for number in range(6):
        cv2.imwrite(
            str(tmp_path / f"{number}.png"), np.roll(astronaut, 50 * number, axis=0)[: 300 + 20 * (number // 3)]
        )
    return tmp_path


def test_stream_gives_what_calls_give_in_order(made, folder):
    pipeline = made()
    streamed = list(pipeline.stream(folder))
    assert len(streamed) == 6
    for path, (frame, poses) in zip(sorted(folder.iterdir()), streamed):
        np.testing.assert_array_equal(frame, cv2.imread(str(path)))
        check(poses, reference(frame))


@pytest.fixture
def streamed(monkeypatch):
    """streamed(pipeline, kind, frames): the pipeline's stream of a source that gives these frames."""

    def stream(pipeline, kind, frames):
        info = SourceInfo(kind, num_frames=None if kind == "camera" else 4)
        monkeypatch.setattr(sources, "open_source", lambda name: Source(info, frames))
        return pipeline.stream("it")

    return stream


def test_a_frame_that_fails_does_not_take_the_one_before_with_it(made, astronaut, streamed):
    pipeline = made()

    def frames():
        yield Frame(astronaut, 0, 0.0, 0.0, 0.0)
        yield Frame(astronaut[:200], 1, 0.0, 0.0, 0.0)
        raise SourceError("the film tears")

    stream = streamed(pipeline, "video", frames())
    for picture in (astronaut, astronaut[:200]):
        frame, poses = next(stream)
        np.testing.assert_array_equal(frame, picture)
        check(poses, reference(picture))
    with pytest.raises(SourceError, match="the film tears"):
        next(stream)
    assert pipeline.runner.under_way == 0


@pytest.mark.parametrize(("live", "ahead"), [(False, 1), (True, 0)])
def test_one_frame_is_ahead_but_of_a_live_source(made, astronaut, live, ahead):
    read = []

    def frames():
        for number in range(4):
            read.append(number)
            yield Frame(astronaut[: 200 + 10 * number], number, 0.0, 0.0, 0.0)

    pipeline = made()
    for number, (frame, poses, _) in enumerate(pipeline.each(frames(), live)):
        assert len(read) == min(number + 1 + ahead, 4) and pipeline.runner.under_way == len(read) - number - 1
        assert frame.index == number
        check(poses, reference(frame.image))


def test_frames_of_a_camera_in_nv12_are_streamed_as_bgr(made, astronaut, streamed):
    nv12 = laid_out(astronaut, "nv12")
    frames = (Frame(nv12, number, 0.0, 0.0, 0.0, pixels="nv12") for number in range(4))
    for frame, poses in streamed(made(), "camera", frames):
        np.testing.assert_array_equal(frame, bgr_from(nv12, "nv12"))
        check(poses, reference(frame))


def test_a_stream_that_is_left_early_leaves_nothing_in_flight(made, folder):
    pipeline = made()
    stream = pipeline.stream(folder)
    _, poses = next(stream)
    assert current_context() is None and pipeline.runner.under_way == 1
    stream.close()
    assert pipeline.runner.under_way == 0
    check_same(pipeline(cv2.imread(str(folder / "0.png"))), poses)
    stream = pipeline.stream(folder)
    next(stream)
    pipeline.close()
    stream.close()


def operations(statistics, start=""):
    return sum(count for name, count in statistics()["operations"].items() if name.startswith(start))


def test_the_copy_of_a_frame_waits_for_no_other_frame(made, astronaut, statistics):
    if os.environ.get("HGEDGE_SIM_SCHEDULE", "lazy") != "lazy":
        pytest.skip("only the lazy schedule runs nothing but what is waited for")
    pipeline = made()
    for _ in range(5):
        pipeline(astronaut)
    before, kernels = operations(statistics), operations(statistics, "kernel")
    one, two = pipeline.submit(astronaut), pipeline.submit(astronaut)
    assert operations(statistics) == before and pipeline.runner.under_way == 2  # nobody has waited yet
    with pipeline.runner.context:
        pipeline.runner._slots[two.flight.slot].copied.synchronize()
    copied = operations(statistics) - before
    assert copied == (0 if pipeline.runner.context.zero_copy else 4) and operations(statistics, "kernel") == kernels
    check(pipeline.collect(one) + pipeline.collect(two), reference(astronaut) * 2)


def test_an_integrated_gpu_copies_nothing(made, astronaut, statistics):
    """But what the engine of these tests copies for itself."""
    pipeline = made()
    before = operations(statistics, "copy")
    for _ in range(4):
        pipeline(astronaut)
    copies = operations(statistics, "copy") - before
    assert copies == 4 * (2 if pipeline.runner.context.zero_copy else 5)  # frame, maps, and keypoints back
    assert (pipeline.latency_ms["copy"] < 0.1) or not pipeline.runner.context.zero_copy


class Neighbourly(StreamSession):
    """While it enqueues, another thread uses the default stream, as torch does."""

    def enqueue(self, *arguments):
        def work():
            with self.context:
                memory = driver().mem_alloc(64)
                driver().memcpy_htod(memory, np.zeros(64, np.uint8))
                memory.free()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        super().enqueue(*arguments)


def test_others_may_use_the_device_during_a_capture(made, astronaut, caplog):
    pipeline = made(session=Neighbourly(sizes=(1,)))
    for _ in range(6):
        check(pipeline(astronaut), reference(astronaut))
    assert pipeline.runner.graphs == 2 and not caplog.records


def test_300_frames_allocate_nothing(made, astronaut, live, simulated):
    pipeline = made(spec=InputSpec((16, 12)), sizes=(1, 2))
    frames, boxes = (cv2.resize(astronaut, (96, 96)), astronaut[200:260, 200:270]), boxes_in(astronaut[:96, :96], 2)
    first = [pipeline(frame, boxes) for frame in frames for _ in range(2)][::2]  # each in either slot
    before = live()
    for number in range(300):
        pipeline(frames[number % 10 > 6], boxes[: number % 3])
    grown = {kind: count - before[kind] for kind, count in live().items() if not kind.startswith("graph")}
    assert max(grown.values()) <= (0 if simulated else PAGE) and min(grown.values()) >= (0 if simulated else -PAGE)
    assert pipeline.runner.graphs <= 2 * 2  # of batches of 1 and 2, in either slot
    for frame, poses in zip(frames, first):
        check_same(pipeline(frame, boxes), poses)


def test_two_threads_with_a_pipeline_each(made, astronaut):
    pipelines, failed = [made(sizes=(1, 2)), made(sizes=(1, 2))], []
    people = [boxes_in(astronaut, 2), boxes_in(astronaut, 3, seed=9)]
    expected = [reference(astronaut, boxes) for boxes in people]
    for pipeline, boxes in zip(pipelines, people):
        for _ in range(2):
            pipeline(astronaut, boxes)  # allocates; then threads capture beside each other

    def work(number):
        try:
            for _ in range(10):
                tickets = [pipelines[number].submit(astronaut, people[number]) for _ in range(2)]
                for ticket in tickets:
                    check(pipelines[number].collect(ticket), expected[number])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]


def test_a_pipeline_is_made_used_and_closed_in_three_threads(made, astronaut, live):
    before = live()
    boxes = boxes_in(astronaut, 3)
    expected, kept = reference(astronaut, boxes), []

    def in_thread(work):
        thread = threading.Thread(target=lambda: kept.append(work()))
        thread.start()
        thread.join()
        return kept.pop()

    pipeline = in_thread(made)
    ticket = pipeline.submit(astronaut, boxes)
    check(in_thread(lambda: pipeline.collect(ticket)), expected)
    for _ in range(3):
        check(in_thread(lambda: pipeline(astronaut, boxes)), expected)
    in_thread(pipeline.close)
    assert live() == before
