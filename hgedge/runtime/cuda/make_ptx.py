"""Make the PTX that hgedge brings: python -m hgedge.runtime.cuda.make_ptx [FOLDER ...]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from hgedge.errors import KernelError
from hgedge.runtime.cuda.nvrtc import Nvrtc, candidates
from hgedge.runtime.cuda.shipped import ARCHITECTURE, FOLDER, VERSIONS, header_of, path_of
from hgedge.runtime.cuda.sources import KERNELS, source_of


def make(kernel: str, compiler: Nvrtc) -> bytes:
    """The PTX of a kernel as it is shipped.

    Raises:
        KernelError: The kernel does not compile.
    """
    return header_of(kernel) + compiler.compile(source_of(kernel), ARCHITECTURE).strip() + b"\n"


def compilers(paths: Iterable[str]) -> dict[tuple[int, int], Nvrtc]:
    """The NVRTC of every version that is shipped.

    Args:
        paths: Of libraries.

    Raises:
        KernelError: One of `VERSIONS` is not among them.
    """
    found = {library.version: library for library in map(Nvrtc, paths)}
    missing = [f"{major}.{minor}" for major, minor in VERSIONS if (major, minor) not in found]
    if missing:
        here = ", ".join(library.name for library in found.values()) or "none"
        raise KernelError(f"PTX is made with NVRTC {', '.join(missing)}, but found {here}; name their folders")
    return {version: found[version] for version in VERSIONS}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make all, or nothing where one cannot be made."""
    parser = argparse.ArgumentParser(
        prog="python -m hgedge.runtime.cuda.make_ptx", description=f"Compile the CUDA kernels to {FOLDER}."
    )
    parser.add_argument(
        "folders", nargs="*", type=Path, help="where libnvrtc.so.* lie, at any depth (default: as installed)"
    )
    folders = parser.parse_args(arguments).folders
    paths = [str(path) for folder in folders for path in sorted(folder.rglob("libnvrtc.so.*"))]
    try:
        found = compilers(paths if folders else candidates())
        made = {path_of(kernel, version): make(kernel, found[version]) for version in VERSIONS for kernel in KERNELS}
    except KernelError as error:
        parser.error(str(error))
    FOLDER.mkdir(exist_ok=True)
    for path in set(FOLDER.glob("*.ptx")) - made.keys():
        path.unlink()
    for path, ptx in made.items():
        path.write_bytes(ptx)
        sys.stdout.write(f"{path}: {len(ptx)} bytes\n")


if __name__ == "__main__":
    main()
