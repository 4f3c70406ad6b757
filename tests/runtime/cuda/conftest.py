"""The kernels of hgedge/runtime/cuda, compiled for the CPU under a small shim."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture(scope="session")
def launch(host_kernels) -> Callable[..., None]:
    """launch("decode", grid, block, *arguments): arrays go as addresses, Python numbers as int and float."""
    library = ctypes.CDLL(str(host_kernels))

    def of(argument: object) -> ctypes.c_void_p | ctypes.c_float | ctypes.c_int:
        if isinstance(argument, np.ndarray):
            return ctypes.c_void_p(argument.ctypes.data)
        return ctypes.c_float(argument) if isinstance(argument, float) else ctypes.c_int(argument)

    def run(name: str, grid: tuple[int, int], block: int, *arguments: object) -> None:
        packed = [of(argument) for argument in arguments]
        fields = [(f"argument{i}", type(one)) for i, one in enumerate(packed)]
        structure = type("Arguments", (ctypes.Structure,), {"_fields_": fields})(*packed)
        library[f"launch_{name}"](
            (ctypes.c_uint * 3)(*grid, 1), (ctypes.c_uint * 3)(block, 1, 1), ctypes.byref(structure)
        )

    return run
