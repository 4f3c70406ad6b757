"""The primary context: per thread, re-entrant, released exactly once, and beside torch."""

import ctypes
import subprocess
import sys
import threading

import pytest

from hgedge.errors import BackendUnavailable, KernelError
from hgedge.runtime.cuda.buffers import DeviceBuffer, SharedBuffer
from hgedge.runtime.cuda.context import CudaContext
from hgedge.runtime.cuda.libcuda import call

pytestmark = pytest.mark.gpu


@pytest.fixture
def context():
    made = CudaContext()
    yield made
    made.close()


def current() -> int | None:
    """Handle of the context that the driver says is current in this thread."""
    handle = ctypes.c_void_p()
    call("cuCtxGetCurrent", ctypes.byref(handle))
    return handle.value


def primary_is_active() -> bool:
    flags, active = ctypes.c_uint(), ctypes.c_int()
    call("cuDevicePrimaryCtxGetState", ctypes.c_int(0), ctypes.byref(flags), ctypes.byref(active))
    return bool(active.value)


def in_thread(work):
    """What `work` returns or raises, in a thread of its own."""
    result = []

    def run():
        try:
            result.append(work())
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=run, name="foreign")
    thread.start()
    thread.join()
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


def test_it_tells_what_the_device_is(context, cuda):
    device = cuda.Device(0)
    assert context.name == device.name()
    assert context.capability == "sm_{}{}".format(*device.compute_capability())
    assert context.integrated == bool(device.get_attribute(cuda.device_attribute.INTEGRATED))
    assert context.cuda_version >= (11, 0) and context.cuda_version[0] == cuda.get_driver_version() // 1000
    free, total = context.memory_bytes()
    assert 0 < free <= total == device.total_memory()


def test_it_is_the_primary_one_and_current_only_within(context, cuda):
    assert current() is None
    with context:
        handle = ctypes.c_void_p()
        call("cuDevicePrimaryCtxRetain", ctypes.byref(handle), ctypes.c_int(0))
        call("cuDevicePrimaryCtxRelease_v2", ctypes.c_int(0))
        assert current() == handle.value
        with context, context:
            assert current() == handle.value
        assert current() == handle.value
    assert current() is None


def test_what_was_current_before_is_so_again(context, cuda):
    private = cuda.Device(0).make_context()
    try:
        with context:
            assert current() != private.handle
        assert current() == private.handle
        other = CudaContext()
        with other:
            pass
        other.close()
        assert current() == private.handle
    finally:
        private.pop()
        private.detach()
    assert current() is None


def test_every_thread_may_enter_it(context):
    def work():
        with context, context:
            buffer = DeviceBuffer(context, 1024, "a test")
            buffer.close()
        return current()

    with context:
        assert in_thread(work) is None
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_thread_that_has_not_entered_it_is_told(context):
    with context:
        shared = SharedBuffer(context, "a test", 64)
        for make in (DeviceBuffer, lambda *given: SharedBuffer(given[0], given[2], given[1])):
            with pytest.raises(KernelError, match="not current in thread 'foreign'; use .* within `with context:`"):
                in_thread(lambda make=make: make(context, 1024, "a test"))
        shared.close()


def test_closing_releases_it_once_from_any_thread(cuda):
    one, two = CudaContext(), CudaContext()
    assert primary_is_active()
    in_thread(one.close)
    one.close()
    assert primary_is_active()
    with two:
        two.close()
    assert not primary_is_active() and current() is None
    for closed in (one, two):
        with pytest.raises(BackendUnavailable, match="closed; load the engine again"), closed:
            pass


def test_there_is_no_device_of_that_number(cuda):
    count = cuda.Device.count()
    for index in (count, -1):
        with pytest.raises(BackendUnavailable, match=rf"no GPU {index}; this machine shows {count}"):
            CudaContext(index)


BESIDE_TORCH = """
import sys
import numpy as np
def ours():
    from hgedge.runtime.cuda.context import CudaContext
    from hgedge.runtime.cuda.buffers import SharedBuffer
    return CudaContext(), SharedBuffer
def theirs():
    import torch
    return torch, torch.arange(1000, device="cuda").sum()
if sys.argv[1] == "torch":
    (torch, total), (context, SharedBuffer) = theirs(), ours()
else:
    (context, SharedBuffer), (torch, total) = ours(), theirs()
for _ in range(3):
    with context:
        buffer = SharedBuffer(context, "a test", 64)
        total = total + torch.ones(10, device="cuda").sum()
        buffer.close()
    total = total + torch.ones(10, device="cuda").sum()
context.close()
print(int(total + torch.ones(1, device="cuda").sum()))
"""


@pytest.mark.parametrize("first", ["torch", "pycuda"])
def test_works_beside_torch_in_either_order(first, real_device, program_environment):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    done = subprocess.run(
        [sys.executable, "-c", BESIDE_TORCH, first], capture_output=True, text=True, env=program_environment
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(999 * 500 + 61)), done.stderr
