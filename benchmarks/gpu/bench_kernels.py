"""The CUDA kernels alone: device time beside what moving their bytes takes, and in the same run that they are right.

Times are of one launch among 100 in a CUDA graph, by events around the graph: Python launches slower than they run.
"""

import time

import cv2
import numpy as np
import pytest

from hgedge import geometry
from hgedge.benchmark.timing import percentiles
from hgedge.runtime.cuda.affines import fixed_point, frame_from_cells
from hgedge.runtime.cuda.context import driver
from hgedge.runtime.cuda.graph import Graph
from hgedge.runtime.cuda.kernels import DeviceFrame, Kernels
from hgedge.runtime.decode import decode
from hgedge.runtime.pixels import bgr_from, frame_hw
from hgedge.runtime.preprocess import normalise, reference_crop
from hgedge.spec import DecodeSpec, InputSpec

pytestmark = pytest.mark.gpu

LAUNCHES, ROUNDS, WARMUP = 100, 50, 5
FRAME_WH = (1920, 1080)
PERSON_PX = 640.0  # side of a person's box
SPEC = InputSpec((256, 256), "rgb", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CROPS = [("bgr", 1, False), ("bgr", 1, True), ("bgr", 16, True), ("bgrx", 1, True), ("nv12", 1, True)]
MAPS = [(n, half, refinement) for n in (1, 16) for half in (False, True) for refinement in ("quarter", "dark")]
KEYPOINTS, CELLS = 16, (64, 64)
COPY_BYTES = 512 << 20
ON = "H200"  # the GPU that the limits are for
PREPROCESS_US, DECODE_US = 15.0, 10.0  # of one crop; of 16 x 64 x 64
VALUE, KEYPOINT_PX = 1e-3, 0.05  # how far from the references
HALF_STEP, LARGEST = 2.0**-11, 3.0  # float16 rounds by so much of a value; no normalised one is beyond this


class Bench:
    """Arrays on the device, and the time that work takes there; the context must be current."""

    def __init__(self):
        self.stream = driver().Stream()

    def put(self, array):
        memory = driver().mem_alloc(array.nbytes)
        driver().memcpy_htod(memory, np.ascontiguousarray(array))
        return memory

    def get(self, memory, shape, dtype):
        self.stream.synchronize()
        array = np.empty(shape, dtype)
        driver().memcpy_dtoh(array, memory)
        return array

    def time(self, launch, moved_bytes):
        """Device time of one launch, Python's own, and the rate at which the bytes were moved that must be."""
        started = time.perf_counter()
        for _ in range(LAUNCHES):
            launch()
        host_us = 1e6 * (time.perf_counter() - started) / LAUNCHES
        self.stream.synchronize()
        graph = Graph(self.stream, lambda: [launch() for _ in range(LAUNCHES)])
        samples = np.array([self.once(lambda: graph.launch(self.stream)) for _ in range(WARMUP + ROUNDS)])[WARMUP:]
        graph.close()
        return {
            "device_us": percentiles(1e3 * samples / LAUNCHES),
            "launch_from_python_us": round(host_us, 2),
            "bytes": moved_bytes,
            "gb_per_s": round(moved_bytes * LAUNCHES / np.median(samples) / 1e6, 2),
        }

    def once(self, work):
        """Milliseconds between events before and after."""
        before, after = driver().Event(), driver().Event()
        before.record(self.stream)
        work()
        after.record(self.stream)
        after.synchronize()
        return after.time_since(before)

    def copy_rate(self):
        """GB/s, read and written, of a copy on the device."""
        size = min(COPY_BYTES, driver().mem_get_info()[0] // 8)
        one, two = driver().mem_alloc(size), driver().mem_alloc(size)
        taken = [self.once(lambda: driver().memcpy_dtod_async(two, one, size, self.stream)) for _ in range(WARMUP + 5)]
        return round(2 * size / np.median(taken[WARMUP:]) / 1e6, 1)


@pytest.fixture(scope="module")
def kernels(context):
    made = Kernels(context)
    yield made
    with context:
        made.close()


def frame_of(picture, pixels):
    if pixels == "bgrx":
        return cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA)
    if pixels == "nv12":
        height, width = picture.shape[:2]
        planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
        return np.concatenate([planes[:height], planes[height:].reshape(2, -1).T.reshape(-1, width)])
    return picture


def maps_of(count):
    """Affine maps of people who stand side by side."""
    lefts = np.linspace(0, FRAME_WH[0] - PERSON_PX, count)
    boxes = [np.array([left, 200.0, left + PERSON_PX, 200.0 + PERSON_PX]) for left in lefts]
    return np.stack([geometry.frame_from_input(box, SPEC.hw) for box in boxes])


def test_preprocess(context, kernels, astronaut, save):
    picture = cv2.resize(astronaut, FRAME_WH)
    with context:
        rows = [preprocess_row(kernels, picture, *case) for case in CROPS]
        found = common(context, kernels, rows)
    save("gpu-kernel-preprocess", {"crop_hw": SPEC.hw, "frame_wh": FRAME_WH, **found})
    for row in rows:
        assert row["max_error"] <= VALUE + HALF_STEP * row["half"] * LARGEST
    if ON in context.name:
        assert max(row["device_us"]["p50"] for row in rows if row["crops"] == 1) <= PREPROCESS_US


def preprocess_row(kernels, picture, pixels, count, half):
    bench, frame, affines = Bench(), frame_of(picture, pixels), maps_of(count)
    shape, dtype = (count, SPEC.channels, *SPEC.hw), np.float16 if half else np.float32
    memory, maps, out = bench.put(frame), bench.put(fixed_point(affines)), bench.put(np.zeros(shape, dtype))
    where = DeviceFrame(int(memory), frame_hw(frame, pixels), frame.nbytes // len(frame), pixels)
    read = count * PERSON_PX**2 * frame.nbytes / (FRAME_WH[0] * FRAME_WH[1])
    timed = bench.time(
        lambda: kernels.preprocess(where, int(maps), count, int(out), half, SPEC, bench.stream),
        int(read) + out_bytes(shape, dtype),
    )
    error = np.abs(bench.get(out, shape, dtype) - cropped(bgr_from(frame, pixels), affines)).max()
    return {"pixels": pixels, "crops": count, "half": half, **timed, "max_error": float(error)}


def out_bytes(shape, dtype):
    return int(np.prod(shape)) * np.dtype(dtype).itemsize


def cropped(picture, affines):
    return normalise(np.stack([reference_crop(picture, affine, SPEC.hw) for affine in affines]), SPEC)


def common(context, kernels, rows):
    rate = Bench().copy_rate()
    return {"gpu": context.name, "kernels": kernels.origin, "copy_gb_per_s": rate, "launches": LAUNCHES, "rows": rows}


def heatmaps_of(count):
    """Noise with a Gaussian on top."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[: CELLS[0], : CELLS[1]]
    centers = random.uniform(4, CELLS[0] - 4, (2, count, KEYPOINTS, 1, 1))
    maps = np.exp(-((x - centers[0]) ** 2 + (y - centers[1]) ** 2) / 4.5)
    return (maps + random.uniform(0, 0.02, maps.shape)).astype(np.float32)


def test_decode(context, kernels, save):
    with context:
        rows = [decode_row(kernels, *case) for case in MAPS]
        found = common(context, kernels, rows)
    save("gpu-kernel-decode", found)
    assert max(row["max_error_px"] for row in rows) <= KEYPOINT_PX
    assert all(row["same_scores"] for row in rows)
    if ON in context.name:
        one = [row for row in rows if row["maps"][0] == 1 and row["refinement"] == "quarter"]
        assert max(row["device_us"]["p50"] for row in one) <= DECODE_US


def decode_row(kernels, count, half, refinement):
    bench, spec, affines = Bench(), DecodeSpec(refinement=refinement), maps_of(count)
    heatmaps = heatmaps_of(count).astype(np.float16 if half else np.float32)
    memory, maps = bench.put(heatmaps), bench.put(frame_from_cells(affines, spec.stride))
    shape = (count, KEYPOINTS, 3)
    out = bench.put(np.zeros(shape, np.float32))
    timed = bench.time(
        lambda: kernels.decode(int(memory), half, heatmaps.shape, int(maps), spec, int(out), bench.stream),
        heatmaps.nbytes + out_bytes(shape, np.float32),
    )
    found = bench.get(out, shape, np.float32)
    located, scores = decode(heatmaps, spec.stride, spec.shift, refinement)
    expected = np.stack([geometry.transform(affine, one) for affine, one in zip(affines, located)])
    return {
        "maps": heatmaps.shape,
        "half": half,
        "refinement": refinement,
        **timed,
        "max_error_px": float(np.abs(found[..., :2] - expected).max()),
        "same_scores": bool((found[..., 2] == scores).all()),
    }
