"""How checks of the simulated driver are made and run: each in a fork of its own, with a driver of its own settings."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

SCALE_PTX = """
.version {version}
.target {target}  // .entry of_a_comment(
.address_size 64
.visible .entry scale(
    .param .u64 .ptr .align 4 scale_param_0,
    .param .f32 scale_param_1,
    .param .u64 scale_param_2,
    .param .u32 scale_param_3
)
.maxntid 256, 1, 1
{{ ret; }}
"""
PTX = SCALE_PTX.format(version="7.0", target="sm_75")

Check = Callable[[Any], None]
CHECKS: dict[str, tuple[Check, dict[str, str], int]] = {}


def check(dies: int = 0, **settings: object) -> Callable[[Check], Check]:
    """A check with these HGEDGE_SIM_* settings; `dies` is the signal that must end it."""

    def add(function: Check) -> Check:
        environment = {f"HGEDGE_SIM_{name.upper()}": str(value) for name, value in settings.items()}
        CHECKS[function.__name__] = (function, environment, dies)
        return function

    return add


def call(name: str, *arguments: object) -> int:
    """Call the driver; Python's ints go as 64 bits, which narrower parameters take too."""
    wide = [ctypes.c_uint64(one) if isinstance(one, int) else one for one in arguments]
    return ctypes.CDLL("libcuda.so.1")[name](*wide)


def value(name: str, *arguments: object, kind: type = ctypes.c_uint64) -> int:
    """What a call that must succeed writes to its first parameter."""
    out = kind()
    assert call(name, ctypes.byref(out), *arguments) == 0, name
    return out.value


def statistics() -> dict[str, Any]:
    read = ctypes.CDLL("libcuda.so.1").hgedge_sim_statistics
    read.restype = ctypes.c_char_p
    return json.loads(read())


def host_address(address: int) -> int:
    read = ctypes.CDLL("libcuda.so.1").hgedge_sim_host
    read.restype = ctypes.c_void_p
    return read(ctypes.c_uint64(address))


@contextlib.contextmanager
def context(cuda: Any) -> Iterator[Any]:
    """pycuda's primary context, current; nothing may be left in it."""
    cuda.init()
    primary = cuda.Device(0).retain_primary_context()
    primary.push()
    try:
        yield primary
    finally:
        primary.pop()
        primary.detach()


def pinned(cuda: Any, values: object) -> np.ndarray:
    values = np.asarray(values, np.float32)
    array = cuda.pagelocked_empty(values.shape, np.float32, mem_flags=cuda.host_alloc_flags.DEVICEMAP)
    array[...] = values
    return array


def scaling(cuda: Any) -> Any:
    """pycuda's function of the kernel scale(source, factor, target, count)."""
    return cuda.module_from_buffer(PTX.encode()).get_function("scale").prepare("PfPi")


def run(name: str) -> str:
    """Nothing, or what went wrong."""
    import pycuda.driver as cuda

    function, environment, dies = CHECKS[name]
    with tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            os.dup2(errors.fileno(), 2)
            os.environ.update(environment)
            try:
                function(cuda)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        errors.seek(0)
        said = errors.read().decode()
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return "" if ended == dies else f"ended with {ended} in place of {dies}\n{said}"
