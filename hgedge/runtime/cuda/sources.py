"""What the kernels are made from: CUDA C beside this module."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOM = Path(__file__).resolve().parent
KERNELS = ("preprocess", "decode")  # NAME.cu holds the kernel NAME
OPTIONS = ("--std=c++17",)  # of whichever compiler


@dataclass(frozen=True)
class Source:
    """A file of CUDA C.

    Attributes:
        name: What compilers call it in their messages.
        headers: What it may include: name -> text.
    """

    name: str
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The sha256 of all that decides what a compiler makes of it, in hexadecimal."""
        parts = (*OPTIONS, self.name, self.text, *(part for item in sorted(self.headers.items()) for part in item))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def source_of(kernel: str) -> Source:
    """The file of a kernel, with all headers of this room."""
    headers = {path.name: path.read_text(encoding="utf-8") for path in ROOM.glob("*.cuh")}
    return Source(f"{kernel}.cu", (ROOM / f"{kernel}.cu").read_text(encoding="utf-8"), headers)
