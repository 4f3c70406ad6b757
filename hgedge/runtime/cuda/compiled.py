"""Kernels compiled on this machine, kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from hgedge.cache import cache_folder
from hgedge.runtime.cuda.sources import Source


class Compiler(Protocol):
    """NVRTC or nvcc."""

    name: str

    def compile(self, source: Source, architecture: str) -> bytes:
        """Machine code ("sm_87") or PTX ("compute_75") of a source; KernelError with the log where that fails."""
        ...


def compiled(compiler: Compiler, source: Source, architecture: str) -> bytes:
    """What a compiler makes of a source, from the cache if it has made it before.

    Raises:
        KernelError: It does not compile.
    """
    key = hashlib.sha256(f"{source.digest} {compiler.name} {architecture}".encode()).hexdigest()[:32]
    path = cache_folder("kernels") / f"{Path(source.name).stem}-{architecture}-{key}"
    with suppress(OSError):
        return path.read_bytes()
    code = compiler.compile(source, architecture)
    with suppress(OSError):  # a machine without a home to write to compiles every time
        _write(path, code)
    return code


def _write(path: Path, code: bytes) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(code)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
