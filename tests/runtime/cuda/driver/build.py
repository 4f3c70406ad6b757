"""Build the simulated CUDA driver, a `libcuda.so.1`, with g++: python -m tests.runtime.cuda.driver.build FOLDER."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
# No warning for Context{device, primary}: what an initialiser leaves out has its default.
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers"]
FLAGS = ["-std=c++17", "-O1", *WARNINGS, "-fvisibility=hidden", "-fPIC", "-shared", "-pthread"]


class NoCompiler(RuntimeError):
    """There is no g++ here."""


def build_library(sources: Iterable[Path], library: Path, *options: str) -> Path:
    """Build a shared library of C++ sources, as one translation unit: so headers are read once.

    Raises:
        NoCompiler: No g++ is found.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise NoCompiler("g++ is not installed, which builds the simulated CUDA driver")
    unit = "".join(f'#include "{source}"\n' for source in sources)
    command = [compiler, *FLAGS, *options, "-x", "c++", "-", "-o", str(library), "-ldl"]
    subprocess.run(command, input=unit, text=True, check=True)
    return library


def build(folder: Path) -> Path:
    """Build the driver in a folder, which is then for LD_LIBRARY_PATH; libcuda.so in it is for linking.

    Raises:
        NoCompiler: No g++ is found.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library = build_library(sorted(HERE.glob("*.cpp")), folder / "libcuda.so.1", "-Wl,-soname,libcuda.so.1")
    link = folder / "libcuda.so"
    link.unlink(missing_ok=True)
    link.symlink_to(library.name)
    return folder


def environment(driver: Path, kernels: Path | str) -> dict[str, str]:
    """Variables for a process in which the driver is found, and kernels are those of a library."""
    path = os.pathsep.join(filter(None, [str(driver), os.environ.get("LD_LIBRARY_PATH")]))
    return {"LD_LIBRARY_PATH": path, "HGEDGE_SIM_KERNELS": str(kernels)}


if __name__ == "__main__":
    sys.stdout.write(f"{build(Path(sys.argv[1]))}\n")
