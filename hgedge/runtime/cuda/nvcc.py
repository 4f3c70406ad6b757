"""nvcc, the compiler of a CUDA toolkit; it needs a C++ compiler beside it, and takes seconds where NVRTC takes none."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from hgedge.errors import KernelError
from hgedge.runtime.cuda.sources import OPTIONS, Source

TOOLKIT = Path("/usr/local/cuda/bin")  # JetPack leaves it out of PATH


class Nvcc:
    """One nvcc.

    Attributes:
        version: Of the CUDA toolkit that it belongs to.
        name: With the version, as messages and caches call it.
    """

    def __init__(self, path: Path) -> None:
        """Ask a compiler for its version.

        Raises:
            KernelError: It does not run, or is no nvcc.
        """
        self._path = path
        told = re.search(r"release (\d+)\.(\d+)", self._run("--version"))
        if told is None:
            raise KernelError(f"{path} does not tell its version, so it is no nvcc; reinstall the CUDA toolkit")
        self.version = (int(told[1]), int(told[2]))
        self.name = f"nvcc {told[1]}.{told[2]}"

    def compile(self, source: Source, architecture: str) -> bytes:
        """Machine code or PTX of a source: see `Nvrtc.compile`.

        Raises:
            KernelError: It does not compile; with the compiler's messages.
        """
        with tempfile.TemporaryDirectory(prefix="hgedge-") as name:
            folder = Path(name)
            for file, text in {source.name: source.text, **source.headers}.items():
                (folder / file).write_text(text, encoding="utf-8")
            kind = "--cubin" if architecture.startswith("sm_") else "--ptx"
            out = folder / "out"
            try:
                self._run(kind, f"-arch={architecture}", *OPTIONS, "-o", str(out), str(folder / source.name))
            except KernelError as error:
                raise KernelError(f"{self.name} cannot compile {source.name} for {architecture}:\n{error}") from None
            return out.read_bytes()

    def _run(self, *arguments: str) -> str:
        try:
            done = subprocess.run([self._path, *arguments], capture_output=True, text=True, errors="replace")
        except OSError as error:
            raise KernelError(f"{self._path} does not run: {error}") from error
        if done.returncode:
            raise KernelError((done.stdout + done.stderr).strip() or f"{self._path} ended with {done.returncode}")
        return done.stdout


def find(cuda_version: tuple[int, int]) -> Nvcc:
    """The nvcc on PATH, or else of /usr/local/cuda.

    Args:
        cuda_version: The CUDA version of the driver.

    Raises:
        KernelError: There is none, or its code is too new for the driver; says what to install.
    """
    path = shutil.which("nvcc") or shutil.which("nvcc", path=str(TOOLKIT))
    wanted = f"the CUDA toolkit {cuda_version[0]}.{cuda_version[1]}"
    if path is None:
        raise KernelError(f"found no nvcc on PATH nor in {TOOLKIT}; it comes with {wanted}")
    nvcc = Nvcc(Path(path))
    if nvcc.version[0] > cuda_version[0]:
        raise KernelError(f"{nvcc.name} ({path}) is newer than the driver; install {wanted}, or update the driver")
    return nvcc
