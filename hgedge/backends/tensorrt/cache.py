"""What a library measured or compiled on a GPU, kept in the user's cache folder for the next time."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from hgedge.cache import cache_folder
from hgedge.errors import ExportError
from hgedge.spec import DeviceInfo


def cache_path(trt: ModuleType, device: DeviceInfo, kind: str) -> Path:
    """The file for what this version of a library found out on this device.

    Args:
        trt: `tensorrt` or `tensorrt_rtx`.
        device: The GPU.
        kind: "timing" for the times of kernels, "kernels" for compiled ones.
    """
    words = "-".join([trt.__name__, trt.__version__, device.name, *device.features])
    return cache_folder("tensorrt") / (re.sub(r"[^\w.-]+", "-", words) + f".{kind}")


def write_whole(path: Path, content: Any) -> None:
    """Write a file, its folder too, whole or not at all.

    Raises:
        ExportError: There is no room, or no permission.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ExportError(f"cannot write {path}: {error.strerror}; make room there or choose another folder") from error
