"""Tests here need a CUDA device: a GPU, or the simulated driver (../driver), on which test_simulated.py runs them."""

from __future__ import annotations

import ctypes
import gc
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

REAL_DEVICE = "needs a real GPU"  # how the reason of such a skip begins


def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


@pytest.fixture(scope="session", autouse=True)
def cuda() -> Iterator[Any]:
    """pycuda.driver, initialised, where there is a device. On the simulated driver nothing may be left behind."""
    if _library() is None:
        pytest.skip("no CUDA driver: libcuda.so.1 is not found")
    driver = pytest.importorskip("pycuda.driver", reason="pycuda is not installed", exc_type=ImportError)
    try:
        driver.init()
    except driver.Error as error:
        pytest.skip(f"no CUDA device: {error}")
    yield driver
    if hasattr(_library(), "hgedge_sim_statistics"):
        gc.collect()
        _check_nothing_left(_statistics())


def _statistics() -> dict[str, Any]:
    read = _library().hgedge_sim_statistics
    read.restype = ctypes.c_char_p
    return json.loads(read())


def _check_nothing_left(statistics: dict[str, Any]) -> None:
    assert statistics["leaked"] == {}, "lived longer than their context"
    assert not any(statistics["live"].values()), statistics["live"]


@pytest.fixture(scope="session")
def simulated(cuda) -> bool:
    """Whether the device is the simulated one."""
    return hasattr(_library(), "hgedge_sim_statistics")


@pytest.fixture(autouse=True)
def nothing_spoilt(simulated) -> Iterator[None]:
    """No test frees what pending work uses, which CUDA does not promise to wait for, or writes beside an allocation."""
    counts = ("freed_in_use", "overruns")
    before = [_statistics()[count] for count in counts] if simulated else None
    yield
    if simulated:
        assert [_statistics()[count] for count in counts] == before, counts


@pytest.fixture
def real_device(simulated) -> None:
    """For tests that the simulator cannot run, such as those of times and of code for the GPU."""
    if simulated:
        pytest.skip(f"{REAL_DEVICE}, and this is the simulated driver")


@pytest.fixture
def statistics(simulated) -> Callable[[], dict[str, Any]]:
    """What the simulated driver counts: live objects, calls, errors, operations, leaks (see ../driver/README.md)."""
    if not simulated:
        pytest.skip("counts what lives on the simulated driver alone")
    return _statistics
