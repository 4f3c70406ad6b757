"""What is missing is told precisely: pycuda, the driver, a GPU, or a fit of one to the other."""

import contextlib
import ctypes
import importlib.util
import os
import subprocess
import sys

import pytest

from tests.runtime.cuda.driver.build import environment

ASK = """
import warnings
from hgedge.errors import BackendUnavailable
from hgedge.runtime.cuda.context import CudaContext
try:
    CudaContext()
except BackendUnavailable as error:
    print(error.exit_code, error, sep="|")
"""
NO_DRIVER = "libcuda.so.1: cannot open shared object file: No such file or directory"  # pycuda's words, as all below
OTHER_CUDA = "pycuda/_driver.cpython-311-x86_64-linux-gnu.so: undefined symbol: cuCtxCreate_v4"
NO_CURAND = "libcurand.so.10: cannot open shared object file: No such file or directory"
NO_PYCUDA = "pycuda is not installed (it has no wheels: make test builds it where nvcc is)"
ANEW = "pip install --force-reinstall --no-deps --no-cache-dir pycuda, or update the driver"


def told(variables):
    """Exit code and text of the error of a process."""
    command = [sys.executable, "-W", "error", "-c", ASK]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})
    assert done.returncode == 0, done.stderr
    code, text = done.stdout.strip().split("|")
    assert code == "3" and text.endswith("; hgedge doctor tells what this machine has")
    return text.removesuffix("; hgedge doctor tells what this machine has")


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (
            "ModuleNotFoundError(\"No module named 'pycuda'\", name='pycuda')",
            "pycuda is not installed; install it with: pip install 'hgedge[tensorrt]' "
            "(it is compiled then, which needs a C++ compiler and the CUDA toolkit)",
        ),
        (
            f"ImportError({NO_DRIVER!r})",
            f"there is no NVIDIA driver ({NO_DRIVER}); install the driver, or build for the CPU: hgedge build MODEL",
        ),
        (
            f"ImportError({OTHER_CUDA!r})",
            f"pycuda was built for another CUDA than this machine has ({OTHER_CUDA}); build it again: {ANEW}",
        ),
        (
            f"ImportError({NO_CURAND!r})",
            f"pycuda was built for another CUDA than this machine has ({NO_CURAND}); build it again: {ANEW}",
        ),
        (
            "ModuleNotFoundError(\"No module named 'pytools'\", name='pytools')",
            "pycuda cannot be imported (No module named 'pytools'); install it again",
        ),
    ],
    ids=["no pycuda", "no driver", "other cuda", "no curand", "no pytools"],
)
def test_a_pycuda_that_cannot_be_imported(root, tmp_path, raised, expected):
    package = tmp_path / "pycuda"
    package.mkdir()
    (package / "__init__.py").touch()
    warns = "import warnings; warnings.warn('Failed to import the CUDA driver interface', stacklevel=2)"
    (package / "driver.py").write_text(f"{warns}\nraise {raised}\n")
    assert told({"PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])}) == expected


@pytest.fixture(scope="module")
def simulated(root, simulated_driver):
    """Variables for a process with the real pycuda on the simulated driver."""
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return {**environment(simulated_driver, ""), "PYTHONPATH": path}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"INIT": "100"},
            "the NVIDIA driver finds no GPU that it can use (cuInit failed: no CUDA-capable device is detected); "
            "check nvidia-smi and CUDA_VISIBLE_DEVICES",
        ),
        (
            {"CUDA": "10020"},
            "the NVIDIA driver is for CUDA 10.2, but hgedge needs 11.0 or newer; update the driver",
        ),
        ({"DEVICES": "0"}, "there is no GPU 0; this machine shows 0, numbered from 0"),
    ],
    ids=["no gpu", "old driver", "no devices"],
)
def test_a_driver_that_does_not_do(simulated, settings, expected):
    variables = {f"HGEDGE_SIM_{name}": value for name, value in settings.items()}
    assert told({**simulated, **variables}) == expected


def test_the_real_pycuda_without_a_driver(root):
    if importlib.util.find_spec("pycuda") is None:
        pytest.skip(NO_PYCUDA)
    with contextlib.suppress(OSError):
        ctypes.CDLL("libcuda.so.1")
        pytest.skip("there is a driver here")
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    assert told({"PYTHONPATH": path}).startswith("there is no NVIDIA driver (libcuda.so.1: cannot open")
