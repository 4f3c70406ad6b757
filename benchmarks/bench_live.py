"""The loop of `hgedge run` on a 720p video: its rate, the age of what it puts out, its memory, eight people at once.

Nothing is saved or shown, lines of JSON are written. `pytest benchmarks/bench_live.py --hgedge-save`, with nothing else
running; `-m soak` runs all but the rate (a minute of lag and ten, 2,000 and 20,000 frames).
"""

import gc
import itertools
import os
import time
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from hgedge.benchmark.timing import percentiles
from hgedge.builder import BuildOptions, build
from hgedge.pose import Frame
from hgedge.runtime.live import People, run_source
from hgedge.runtime.pipeline import load
from hgedge.sinks import JsonlSink
from hgedge.sources import Source, SourceInfo, open_source

FRAME_WH = (1280, 720)
ROUNDS = 9
RATE = 0.85  # of what reading and the engine allow
PERIODS = 2.0  # age of a live source's results, in periods of the engine
EIGHT_PEOPLE = 1.15  # over a batch of eight
GROWTH_BYTES = 8 << 20
MOMENTS = 32  # different frames of a source that is not read from a file


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    output = tmp_path_factory.mktemp("engines")
    options = BuildOptions(precision="int8", backend="openvino", batch=(1, 2, 4, 8), output=output)
    with load(build(options).bundle) as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def video(lspet):
    path = lspet.parent / "videos" / "juggle_247f.mp4"
    if not path.is_file():
        pytest.skip(f"needs the video {path}")
    return path


@pytest.fixture(scope="module")
def moments(video):
    """A few of the video's frames, decoded."""
    with open_source(video) as frames:
        return [frame.image for frame in itertools.islice(frames, MOMENTS)]


@pytest.fixture
def lines(tmp_path):
    """An output: lines of JSON."""
    with JsonlSink(tmp_path / "out.jsonl") as sink:
        yield lambda result: sink.write(result.frame, result.poses, result.latency_ms, result.age_ms)


def seconds(run):
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def read(video):
    with open_source(video) as frames:
        return sum(1 for _ in frames)


def infer(engine, crops, count):
    for _ in range(count):
        engine.session.run(crops)


def test_rate_of_a_file(engine, video, lines, save):
    """Each round reads the file alone, runs the engine alone as often, and does both as `hgedge run` does."""
    count = read(video)
    crops = np.zeros((1, *engine.input.hw, engine.input.channels), np.uint8)
    infer(engine, crops, 50)
    taken = {"read": [], "engine": [], "run": []}
    for _ in range(ROUNDS):
        taken["read"].append(seconds(lambda: read(video)))
        taken["engine"].append(seconds(lambda: infer(engine, crops, count)))
        taken["run"].append(seconds(lambda: run_source(engine, open_source(video), [lines])))
    one, two, both = (np.array(taken[name]) for name in ("read", "engine", "run"))
    results = {
        "frames": count,
        "ms_a_frame": {name: [round(1e3 * value / count, 4) for value in values] for name, values in taken.items()},
        "fps": {name: round(count / float(np.median(values)), 2) for name, values in taken.items()},
        "of_one_after_the_other": round(float(np.median((one + two) / both)), 4),
        "of_both_at_once": round(float(np.median(np.maximum(one, two) / both)), 4),
    }
    save("live-rate", results)
    assert results["of_one_after_the_other"] >= RATE


def live_source(moments, period_s, duration_s):
    """A camera that has a frame every so often, whether or not anybody is ready for it."""

    def frames():
        started = time.monotonic()
        for index in range(int(duration_s / period_s)):
            time.sleep(max(0.0, started + index * period_s - time.monotonic()))
            now = time.monotonic()
            yield Frame(moments[index % len(moments)], index, now - started, now, 0.0)

    return Source(SourceInfo("camera", FRAME_WH, 1 / period_s), frames())


def lag(engine, moments, lines, duration_s):
    """Ages of results of a source at twice the engine's rate, in the engine's periods."""
    for moment in moments:
        engine(moment)
    period_s = float(np.median([seconds(lambda image=image: engine(image)) for image in moments * 3]))
    ages_ms, states = [], []

    def take(result):
        ages_ms.append(result.age_ms)
        states.append(result.state)

    summary = run_source(engine, live_source(moments, period_s / 2, duration_s), [lines, take])
    periods = np.array(ages_ms) / (1e3 * period_s)
    thirds = [float(np.median(third)) for third in np.array_split(periods, 3)]
    return {
        "seconds": duration_s,
        "engine_period_ms": round(1e3 * period_s, 4),
        "frames": summary.frames,
        "dropped": summary.dropped,
        "rate_over_the_engines": round(summary.fps * period_s, 4),
        "age_in_periods": percentiles(periods) | {"max": round(float(periods.max()), 4)},
        "age_in_periods_by_thirds": [round(value, 4) for value in thirds],
    }


def check_lag(results):
    assert results["age_in_periods"]["p95"] <= PERIODS
    first, _, last = results["age_in_periods_by_thirds"]
    assert last <= 1.2 * first  # it does not grow
    assert results["dropped"] > 0.3 * results["frames"]


@pytest.mark.soak
def test_age_of_a_live_source(engine, moments, lines, save):
    results = lag(engine, moments, lines, 60)
    save("live-lag", results)
    check_lag(results)


@pytest.mark.soak
def test_age_of_a_live_source_for_ten_minutes(engine, moments, lines, save):
    results = lag(engine, moments, lines, 600)
    save("live-lag-soak", results)
    check_lag(results)


def repeated(video, count):
    """The frames of a file, over and over, as one source."""

    def frames():
        index = 0
        while True:
            with open_source(video) as source:
                for frame in source:
                    if index == count:
                        return
                    yield Frame(frame.image, index, index / 24, frame.captured_s, frame.capture_ms)
                    index += 1

    return Source(SourceInfo("video", FRAME_WH, 24.0, count), frames())


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(engine, video, lines, count, people=None):
    """Resident memory from time to time of a run."""
    samples = []

    def take(result):
        if result.frame.index % (count // 100) == 0:
            gc.collect()
            samples.append(resident_bytes())

    run_source(engine, repeated(video, count), [lines, take], people)
    first, last = (float(np.median(part)) for part in (samples[10:20], samples[-10:]))
    return {
        "frames": count,
        "resident_mib": [round(s / 2**20, 1) for s in samples],
        "grown_mib": round((last - first) / 2**20, 2),
    }


def check_memory(results):
    assert results["grown_mib"] * 2**20 <= GROWTH_BYTES


@pytest.mark.soak
def test_memory_over_2000_frames(engine, video, lines, save):
    results = memory(engine, video, lines, 2_000)
    save("live-memory", results)
    check_memory(results)


@pytest.mark.soak
def test_memory_over_20000_frames(engine, video, lines, save):
    results = memory(engine, video, lines, 20_000, People(smooth=True))
    save("live-memory-soak", results)
    check_memory(results)


@dataclass
class Known:
    """A detector of people who stand still: the same (8, 5) boxes whenever it is asked."""

    boxes: np.ndarray
    followed: bool
    cropped: bool = False

    def detect(self, frame, image_bgr):
        return self.boxes


@pytest.fixture
def crowd(engine, moments):
    """A picture of eight people, in a grid, and their boxes; somebody whom the model knows well, so none gets lost."""
    person = moments[0][:, 480:960]
    width, height = FRAME_WH[0] // 4, FRAME_WH[1] // 2
    scale = min(width / person.shape[1], height / person.shape[0])
    small = cv2.resize(person, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    (pose,) = engine(small)
    sure = pose.keypoints[pose.scores > 0.3]
    box = np.concatenate([sure.min(axis=0), sure.max(axis=0)])
    picture, boxes = np.zeros((FRAME_WH[1], FRAME_WH[0], 3), np.uint8), []
    for row, column in itertools.product(range(2), range(4)):
        left, top = column * width, row * height
        picture[top : top + small.shape[0], left : left + small.shape[1]] = small
        boxes.append([*(box + np.array([left, top, left, top])), 1.0])
    return picture, np.array(boxes, np.float32)


@pytest.mark.soak
@pytest.mark.parametrize("followed", [False, True], ids=["detected", "followed"])
def test_eight_people(engine, crowd, lines, save, followed):
    """The loop's own time of a frame with eight people, against a batch of eight crops on the engine alone.

    Boxes that are known take no time; who is followed is detected once in 30 frames, which the median leaves out.
    """
    picture, boxes = crowd
    crops = np.zeros((8, *engine.input.hw, engine.input.channels), np.uint8)
    people = People(Known(boxes, followed), max_people=8)
    alone_ms, total_ms, found = [], [], []

    def take(result):
        total_ms[-1].append(result.latency_ms["total"])
        found.append(len(result.poses))

    for _ in range(ROUNDS):
        alone_ms.append([1e3 * seconds(lambda: engine.session.run(crops)) for _ in range(30)])
        total_ms.append([])
        frames = (Frame(picture, index, index / 24, time.monotonic(), 0.0) for index in range(30))
        run_source(engine, Source(SourceInfo("video", FRAME_WH, 24.0, 30), frames), [lines, take], people)
    alone, total = (np.median(values, axis=1) for values in (alone_ms, total_ms))
    results = {
        "ms_by_round": {"batch_of_8": alone.round(4).tolist(), "frame": total.round(4).tolist()},
        "over_the_batch": round(float(np.median(total / alone)), 4),
        "people_a_frame": float(np.median(found)),
    }
    save(f"live-eight-people-{'followed' if followed else 'detected'}", results)
    assert results["people_a_frame"] == 8
    assert results["over_the_batch"] <= EIGHT_PEOPLE
