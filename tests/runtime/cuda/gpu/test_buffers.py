"""Memory: bytes go to the device and back, buffers grow, what is not there is told, and all is freed."""

import numpy as np
import pytest

from hgedge.errors import BackendUnavailable
from hgedge.runtime.cuda.buffers import DeviceBuffer, SharedBuffer
from hgedge.runtime.cuda.context import CudaContext

pytestmark = pytest.mark.gpu


NOBODY_HAS = 2**60  # bytes


@pytest.fixture
def context():
    made = CudaContext()
    with made:
        yield made
    made.close()


def test_bytes_go_there_and_back(context, cuda):
    values = np.random.default_rng(0).integers(0, 256, 1000, np.uint8)
    shared, stream = SharedBuffer(context, "a test", 1000), cuda.Stream()
    shared.view(0, (1000,), np.uint8)[:] = values
    shared.upload(stream, 1000)
    stream.synchronize()
    if not context.zero_copy:
        shared.view(0, (1000,), np.uint8)[:] = 0
    shared.download(stream, 100, 300)
    stream.synchronize()
    np.testing.assert_array_equal(shared.view(100, (200,), np.uint8), values[100:300])
    assert (shared.view(300, (700,), np.uint8) == (values[300:] if context.zero_copy else 0)).all()
    back = np.empty(1000, np.uint8)
    cuda.memcpy_dtoh(back, shared.address)
    np.testing.assert_array_equal(back, values)
    shared.close()
    del stream


def test_views_have_shape_and_dtype(context):
    shared = SharedBuffer(context, "a test", 100)
    shared.view(4, (2, 3), np.float32)[:] = [[1, 2, 3], [4, 5, 6]]
    np.testing.assert_array_equal(shared.view(16, (3,), np.float32), [4, 5, 6])
    with pytest.raises(ValueError):
        shared.view(80, (6,), np.float32)
    shared.close()


def test_buffers_grow_and_never_shrink(context, statistics):
    shared = SharedBuffer(context, "a test", 1000)
    calls = statistics()["calls"]["cuMemHostAlloc"]
    address = shared.address
    for size in (1000, 10, 0):
        shared.reserve(size)
    assert (shared.address, shared.size_bytes, statistics()["calls"]["cuMemHostAlloc"]) == (address, 1000, calls)
    shared.reserve(2000)
    assert shared.size_bytes == 2000 and len(shared.view(0, (2000,), np.uint8)) == 2000
    shared.close()
    shared.close()
    assert shared.size_bytes == statistics()["live"]["device_bytes"] == statistics()["live"]["host_allocations"] == 0


def test_memory_that_is_not_there_is_told(context):
    free, total = context.memory_bytes()
    with pytest.raises(BackendUnavailable) as told:
        DeviceBuffer(context, total + 2**20, "the heatmaps of 64 people")
    text = str(told.value)
    assert text.startswith(f"the heatmaps of 64 people needs {total / 2**20 + 1:.1f} MiB of GPU memory, but ")
    assert f"has {free / 2**20:.1f} MiB free of {total / 2**20:.1f} MiB" in text
    assert text.endswith("give fewer people at once, or close other programs")


def test_a_buffer_that_cannot_grow_is_empty_and_can_be_used_again(context):
    shared = SharedBuffer(context, "a frame", 1000)
    with pytest.raises(BackendUnavailable, match="a frame needs .* of pinned host memory"):
        shared.reserve(NOBODY_HAS)
    assert shared.size_bytes == 0
    shared.reserve(500)
    shared.view(0, (500,), np.uint8)[:] = 1
    shared.close()
