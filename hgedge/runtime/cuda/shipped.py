"""PTX made ahead, for machines without a compiler: ptx/NAME.cuda-12.0.ptx is for drivers from CUDA 12.0 on.

`hgedge.runtime.cuda.make_ptx` makes it; README.md beside this module tells how.
"""

from __future__ import annotations

from pathlib import Path

from hgedge.errors import KernelError
from hgedge.runtime.cuda.sources import ROOM, source_of

FOLDER = ROOM / "ptx"
VERSIONS = ((11, 7), (12, 0), (13, 0))  # the oldest NVRTC of each major that is published as a wheel
ARCHITECTURE = (
    "compute_75"  # the oldest GPUs that CUDA 13 and TensorRT 10.16 know; drivers finish it for all later ones
)


def path_of(kernel: str, version: tuple[int, int]) -> Path:
    """Where the PTX of a kernel lies for drivers from a CUDA version on."""
    return FOLDER / f"{kernel}.cuda-{version[0]}.{version[1]}.ptx"


def header_of(kernel: str) -> bytes:
    """The first line of a kernel's PTX: what it was made from."""
    return f"// {kernel}.cu, sha256 {source_of(kernel).digest}\n".encode()


def choose(cuda_version: tuple[int, int]) -> tuple[int, int]:
    """The newest of `VERSIONS` that a driver takes.

    Args:
        cuda_version: The CUDA version of the driver.

    Raises:
        KernelError: The driver is older than all of them.
    """
    fitting = [version for version in VERSIONS if version <= cuda_version]
    if not fitting:
        oldest, found = (".".join(map(str, version)) for version in (VERSIONS[0], cuda_version))
        raise KernelError(
            f"hgedge brings PTX for drivers of CUDA {oldest} and later, but this one is of {found}; update the driver"
        )
    return max(fitting)


def read(kernel: str, version: tuple[int, int]) -> bytes:
    """The PTX of a kernel.

    Raises:
        KernelError: It is not there, or was made from other sources than those that are there.
    """
    path = path_of(kernel, version)
    try:
        ptx = path.read_bytes()
    except OSError as error:
        raise KernelError(f"cannot read {path}: {error.strerror}; reinstall hgedge") from error
    if not ptx.startswith(header_of(kernel)):
        raise KernelError(f"{path.name} was not made from {kernel}.cu as it stands here; reinstall hgedge")
    return ptx
