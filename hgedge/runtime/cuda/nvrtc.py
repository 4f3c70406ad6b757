"""NVRTC, NVIDIA's compiler for CUDA C in a shared library; it needs neither a GPU nor a driver.

Source: the NVRTC manual of the CUDA toolkit, and `nvrtc.h`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path

from hgedge.errors import KernelError
from hgedge.runtime.cuda.sources import OPTIONS, Source

SONAMES = ("libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2")  # 11.2 is that of all later 11.x
TOOLKITS = Path("/usr/local")  # holds a folder cuda, and often more: cuda-12.6
PACKAGES = {11: "nvidia-cuda-nvrtc-cu11", 12: "nvidia-cuda-nvrtc-cu12"}  # by CUDA's major version
PACKAGE = "nvidia-cuda-nvrtc"  # of all later ones
SIGNATURES = {
    "nvrtcVersion": [POINTER(c_int), POINTER(c_int)],
    "nvrtcCreateProgram": [
        POINTER(c_void_p), c_char_p, c_char_p, c_int, POINTER(c_char_p), POINTER(c_char_p),
    ],
    "nvrtcDestroyProgram": [POINTER(c_void_p)],
    "nvrtcCompileProgram": [c_void_p, c_int, POINTER(c_char_p)],
    **{f"nvrtcGet{what}Size": [c_void_p, POINTER(c_size_t)] for what in ("PTX", "CUBIN", "ProgramLog")},
    **{f"nvrtcGet{what}": [c_void_p, c_char_p] for what in ("PTX", "CUBIN", "ProgramLog")},
}  # fmt: skip


class Nvrtc:
    """One NVRTC library.

    Attributes:
        version: Of the CUDA that it belongs to.
        name: With the version, as messages and caches call it.
    """

    def __init__(self, path: str) -> None:
        """Load a library.

        Args:
            path: Of the file, or a bare name for the loader to find.

        Raises:
            KernelError: It cannot be loaded, or is no NVRTC of CUDA 11.1 or later.
        """
        try:
            for builtins in Path(path).parent.glob("libnvrtc-builtins.so.*") if "/" in path else ():
                ctypes.CDLL(str(builtins))  # CUDA 13.0's wheel does not find its own
            self._library = ctypes.CDLL(path)
            for name, arguments in SIGNATURES.items():
                function = getattr(self._library, name)
                function.argtypes, function.restype = arguments, c_int
        except (OSError, AttributeError) as error:
            raise KernelError(f"{path} is no NVRTC of CUDA 11.1 or later that can be loaded: {error}") from error
        self._library.nvrtcGetErrorString.argtypes, self._library.nvrtcGetErrorString.restype = [c_int], c_char_p
        major, minor = c_int(), c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        self.version = (major.value, minor.value)
        self.name = f"NVRTC {major.value}.{minor.value}"

    def compile(self, source: Source, architecture: str) -> bytes:
        """Machine code or PTX of a source.

        Args:
            source: CUDA C.
            architecture: "sm_87" makes a cubin for GPUs of that capability, "compute_75" PTX for it and all later ones.

        Raises:
            KernelError: It does not compile; with the compiler's messages.
        """
        return self.compile_with_log(source, architecture)[0]

    def compile_with_log(self, source: Source, architecture: str, options: Sequence[str] = ()) -> tuple[bytes, str]:
        """As `compile`, and what the compiler said; with "--ptxas-options=-v" that is registers and memory."""
        program = c_void_p()
        names, texts = _strings(source.headers.keys()), _strings(source.headers.values())
        text, name = source.text.encode(), source.name.encode()
        self._call("nvrtcCreateProgram", ctypes.byref(program), text, name, len(names), texts, names)
        try:
            arguments = _strings((f"--gpu-architecture={architecture}", *OPTIONS, *options))
            failed = self._library.nvrtcCompileProgram(program, len(arguments), arguments)
            log = self._read("ProgramLog", program).rstrip(b"\0").decode(errors="replace").strip()
            if failed:
                reason = log or self._reason(failed)
                raise KernelError(f"{self.name} cannot compile {source.name} for {architecture}:\n{reason}")
            if architecture.startswith("sm_"):
                return self._read("CUBIN", program), log
            return self._read("PTX", program).rstrip(b"\0"), log
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _read(self, what: str, program: c_void_p) -> bytes:
        size = c_size_t()
        self._call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", program, buffer)
        return buffer.raw

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise KernelError(f"{name} failed with {self._reason(status)}; reinstall NVRTC")

    def _reason(self, status: int) -> str:
        return self._library.nvrtcGetErrorString(status).decode()


def find(cuda_version: tuple[int, int]) -> Nvrtc:
    """The newest NVRTC of this machine whose code a driver takes: of the driver's major version, or of an older one.

    Args:
        cuda_version: The CUDA version of the driver.

    Raises:
        KernelError: There is none; says what to install.
    """
    fitting, others = [], []
    for path in candidates():
        try:
            library = Nvrtc(path)
        except KernelError as error:
            others.append(str(error))
            continue
        if library.version[0] <= cuda_version[0]:
            fitting.append(library)
        else:
            others.append(f"{library.name} is newer than the driver")
    if not fitting:
        found = f" ({'; '.join(dict.fromkeys(others))})" if others else ""
        package = PACKAGES.get(cuda_version[0], PACKAGE)
        raise KernelError(
            f"found no NVRTC for a driver of CUDA {cuda_version[0]}.{cuda_version[1]}{found}; "
            f"install it with: pip install {package}"
        )
    return max(fitting, key=lambda library: library.version)


def candidates() -> Iterator[str]:
    """Where an NVRTC may be: wheels beside other Python packages, CUDA toolkits, the loader's search path."""
    for folder in filter(os.path.isdir, sys.path):
        yield from map(str, sorted(Path(folder).glob("nvidia/*/lib/libnvrtc.so.*")))
    named = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    for toolkit in (*named, *sorted(TOOLKITS.glob("cuda*"))):
        yield from map(str, sorted(toolkit.glob("lib64/libnvrtc.so")))
    for name in SONAMES:
        if _loads(name):
            yield name


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
        return True
    except OSError:
        return False


def _strings(texts: Collection[str]) -> ctypes.Array[c_char_p]:
    return (c_char_p * len(texts))(*(text.encode() for text in texts))
