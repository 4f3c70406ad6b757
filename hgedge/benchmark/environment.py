"""The machine that a number was taken on."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import hgedge
from hgedge import device, records

LIBRARIES = ("numpy", "torch", "onnx", "onnxruntime", "openvino", "opencv-python")


def environment() -> dict[str, Any]:
    """Processor, cores, memory, load, system and library versions."""
    return {
        "device": records.to_mapping(device.cpu()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "governor": _governor(),
        "load_1min": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "hgedge": hgedge.__version__,
        "libraries": {name: version for name in LIBRARIES if (version := _version(name))},
    }


def machine_name() -> str:
    """A folder name for this class of machine, such as `amd-epyc-2core`."""
    words = re.sub(r"[^a-z0-9]+", "-", device.cpu().name.lower()).strip("-")
    return f"{words}-{len(os.sched_getaffinity(0))}core"


def _governor() -> str | None:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text().strip() if path.exists() else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
