"""The machine that a number was taken on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import hgedge
from hgedge import device, records
from hgedge.backends.tensorrt.gpu import gpu
from hgedge.errors import BackendUnavailable

LIBRARIES = ("numpy", "torch", "onnx", "onnxruntime", "openvino", "opencv-python")
GPU_LIBRARIES = ("pycuda", "tensorrt", "tensorrt_rtx_cu13_bindings", "onnxruntime-gpu", "triton")
SMI_FIELDS = {
    "driver_version": "driver",
    "memory.total": "memory_mib",
    "clocks.sm": "sm_clock_mhz",
    "clocks.max.sm": "max_sm_clock_mhz",
    "clocks.mem": "memory_clock_mhz",
    "clocks.max.mem": "max_memory_clock_mhz",
    "power.limit": "power_limit_w",
    "power.draw": "power_draw_w",
    "temperature.gpu": "temperature_c",
    "pstate": "pstate",
}  # of nvidia-smi -> ours
SMI_TIMEOUT_S = 20
CORES = len(os.sched_getaffinity(0))  # before OpenMP binds the main thread to one of them


def environment() -> dict[str, Any]:
    """Processor, cores, memory, load, system and library versions; the GPU as it is now, where there is one."""
    return {
        "device": records.to_mapping(device.cpu()),
        "cores": CORES,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "governor": _governor(),
        "load_1min": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "hgedge": hgedge.__version__,
        "libraries": {name: version for name in (*LIBRARIES, *GPU_LIBRARIES) if (version := _version(name))},
        **({"gpu": gpu_now()} if _has_gpu() else {}),
    }


def machine_name() -> str:
    """A folder name for this class of machine, by its GPU if it has one: `nvidia-h200-16core`, `amd-epyc-2core`."""
    name = gpu().name if _has_gpu() else device.cpu().name
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{words}-{CORES}core"


def gpu_now() -> dict[str, Any]:
    """GPU 0: name, compute capability, and what nvidia-smi says of its driver, clocks, power and temperature now.

    Raises:
        BackendUnavailable: There is none.
    """
    found = gpu()
    query = ["nvidia-smi", "--id=0", f"--query-gpu={','.join(SMI_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        line = subprocess.run(query, capture_output=True, text=True, timeout=SMI_TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        told: dict[str, Any] = {"nvidia_smi": str(error)}
    else:
        told = told_by_smi(line)
    return {"name": found.name, "compute_capability": found.features[0], **told}


def told_by_smi(line: str) -> dict[str, Any]:
    """A line of nvidia-smi with the values of `SMI_FIELDS`, without units; what a GPU does not tell is left out."""
    told: dict[str, Any] = {}
    for name, text in zip(SMI_FIELDS.values(), line.split(",")):
        value = text.strip()
        if value.strip("[]").upper() not in ("N/A", "NOT SUPPORTED", "UNKNOWN ERROR", ""):
            told[name] = float(value) if re.fullmatch(r"[\d.]+", value) and name != "driver" else value
    return told


def _has_gpu() -> bool:
    try:
        gpu()
    except BackendUnavailable:
        return False
    return True


def _governor() -> str | None:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text().strip() if path.exists() else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
