"""Graphs: what is captured runs again with what its memory then holds; what cannot be captured runs plainly."""

import ctypes

import numpy as np
import pytest

from hgedge.errors import KernelError
from hgedge.runtime.cuda.context import CudaContext
from hgedge.runtime.cuda.graph import Graph, Replay
from hgedge.runtime.cuda.libcuda import call

pytestmark = pytest.mark.gpu
SIZE = 64


class Copying:
    """Work that copies one pinned buffer to another, by way of the device."""

    def __init__(self, cuda):
        self.stream = cuda.Stream(1)
        self.cuda = cuda
        self.given, self.made = cuda.pagelocked_zeros(SIZE, np.uint8), cuda.pagelocked_zeros(SIZE, np.uint8)
        self.memory = cuda.mem_alloc(SIZE)
        self.times = 0

    def __call__(self):
        self.times += 1
        self.cuda.memcpy_htod_async(self.memory, self.given, self.stream)
        self.cuda.memcpy_dtoh_async(self.made, self.memory, self.stream)

    def after(self, value, run):
        """What arrives when `value` is given to a run."""
        self.given[:] = value
        run()
        self.stream.synchronize()
        assert (self.made == self.made[0]).all()
        return self.made[0]


@pytest.fixture
def context():
    made = CudaContext()
    with made:
        yield made
    made.close()


@pytest.fixture
def copying(context, cuda):
    made = Copying(cuda)
    yield made
    vars(made).clear()  # pycuda frees with the last reference, which should be within the context


def test_a_graph_runs_what_was_captured(copying):
    graph = Graph(copying.stream, copying)
    copying.stream.synchronize()
    assert copying.times == 1 and (copying.made == 0).all()  # captured, not run
    for value in (7, 8, 9):
        assert copying.after(value, lambda: graph.launch(copying.stream)) == value
    assert copying.times == 1
    graph.close()
    graph.close()


def test_replay_runs_plainly_then_captures_then_launches(copying):
    replay = Replay(copying.stream)
    times = []
    for value in range(5):
        assert copying.after(value, lambda: replay.run("a", copying)) == value
        times.append((copying.times, replay.size))
    assert times == [(1, 0), (2, 1), (2, 1), (2, 1), (2, 1)]
    assert copying.after(5, lambda: replay.run("b", copying)) == 5
    replay.forget(lambda key: key == "b")
    assert replay.size == 1
    replay.forget()
    assert replay.size == 0
    assert copying.after(6, lambda: replay.run("a", copying)) == 6


def test_without_captures_all_runs_plainly(copying):
    replay = Replay(copying.stream, captures=False)
    for value in range(3):
        assert copying.after(value, lambda: replay.run("a", copying)) == value
    assert (copying.times, replay.size) == (3, 0)


@pytest.mark.parametrize("refused", ["synchronize", "allocate"])
def test_what_cannot_be_captured_runs_plainly_and_says_so_once(copying, cuda, caplog, refused):
    memory = []

    def work():
        copying()
        copying.stream.synchronize() if refused == "synchronize" else memory.append(cuda.mem_alloc(16))

    replay = Replay(copying.stream)
    for value in range(4):
        for key in ("a", "b"):
            assert copying.after(value, lambda key=key: replay.run(key, work)) == value
    (said,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert said.startswith("CUDA cannot capture this engine into a graph (cu")
    assert said.endswith("it runs on plain streams, slower")
    assert replay.size == 0
    memory.clear()


def test_other_errors_within_a_capture_come_through_and_end_it(copying):
    def work():
        copying()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Graph(copying.stream, work)
    assert copying.after(3, copying) == 3


def test_an_empty_graph_can_be_launched(context, cuda):
    stream = cuda.Stream(1)
    graph = Graph(stream, lambda: None)
    graph.launch(stream)
    stream.synchronize()
    graph.close()
    del stream


def test_errors_of_the_driver_have_its_words(context):
    with pytest.raises(KernelError, match=r"cuStreamSynchronize failed: .*invalid.* \(\d+\)"):
        call("cuStreamSynchronize", ctypes.c_void_p(0xDEAD0))
    with pytest.raises(KernelError, match="this NVIDIA driver has no cuNothing; update the driver"):
        call("cuNothing")
