"""The machine that a number was taken on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import hgedge
from hgedge import device, records
from hgedge.backends.tensorrt.gpu import gpu
from hgedge.errors import BackendUnavailable

LIBRARIES = ("numpy", "torch", "onnx", "onnxruntime", "openvino", "opencv-python", "nncf")
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
TOOL_TIMEOUT_S = 20
CPUFREQ = "sys/devices/system/cpu/cpu[0-9]*/cpufreq"
DEVFREQS = ("sys/class/devfreq/*gpu*", "sys/class/devfreq/*.ga10b")  # GPUs of Jetsons, which nvidia-smi does not know
ZONES = ("sys/class/thermal/thermal_zone[0-9]*", "sys/class/hwmon/hwmon*")  # of type; of name
CPU_SENSORS = ("coretemp", "k10temp", "zenpower")  # of hwmon; its other chips are disks and fans
SOURCE = Path(hgedge.__file__).parent
ROOT = Path("/")
CORES = len(os.sched_getaffinity(0))  # before OpenMP binds the main thread to one of them


def environment() -> dict[str, Any]:
    """Processor, cores, clocks, heat, load, system and library versions, commit; the GPU as it is now, if there is one.

    What a machine does not tell is null, or left out.
    """
    return {
        "device": records.to_mapping(device.cpu()),
        "cores": CORES,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "governor": _text(ROOT / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        "clocks_mhz": clocks(),
        "power_mode": power_mode(),
        "temperature_c": temperatures(),
        "load_1min": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "hgedge": hgedge.__version__,
        "commit": commit(),
        "libraries": {name: version for name in (*LIBRARIES, *GPU_LIBRARIES) if (version := _version(name))},
        **({"gpu": gpu_now()} if _has_gpu() else {}),
    }


def clocks(root: Path = ROOT) -> dict[str, dict[str, int]]:
    """Clocks in MHz: of the CPU, over all cores, and of a Jetson's GPU; `now`, and the `most` that is allowed now.

    Where cores have no cpufreq, as in virtual machines, the CPU's is what `/proc/cpuinfo` says.
    """
    cpus = sorted(root.glob(CPUFREQ))
    gpus = sorted(folder for pattern in DEVFREQS for folder in root.glob(pattern))
    found = {
        "cpu": _most(cpus, {"now": "scaling_cur_freq", "most": "scaling_max_freq"}, 1e-3),
        "gpu": _most(gpus, {"now": "cur_freq", "most": "max_freq"}, 1e-6),
    }
    told = re.findall(r"(?m)^cpu MHz\s*: ([\d.]+)", _text(root / "proc/cpuinfo"))
    if told and not found["cpu"]:
        found["cpu"] = {"now": round(max(map(float, told)))}
    return {name: values for name, values in found.items() if values}


def temperatures(root: Path = ROOT) -> dict[str, float]:
    """Celsius by thermal zone, and of the CPU's own sensors; of zones with one name the hottest."""
    found: dict[str, float] = {}
    for folder in sorted(folder for pattern in ZONES for folder in root.glob(pattern)):
        name = _text(folder / "type") or _text(folder / "name")
        if (folder / "type").exists() or name in CPU_SENSORS:
            values = [_text(path) for path in (folder / "temp", *folder.glob("temp*_input"))]
            degrees = [int(value) / 1000 for value in values if re.fullmatch(r"-?\d+", value)]
            found |= {name: round(max([*degrees, found.get(name, -273.0)]), 1)} if degrees else {}
    return found


def power_mode() -> str | None:
    """What `nvpmodel -q` says on a Jetson, such as "15W"; null elsewhere, and in containers that do not see it."""
    told = re.search(r"NV Power Mode: *(\S+)", _said("nvpmodel", "-q"))
    return told[1] if told else None


def commit(source: Path = SOURCE) -> str | None:
    """The commit of the checkout that hgedge runs from, ending in "-dirty" where the package differs; null if none."""
    if not (source.parent / ".git").exists():  # a repository farther up is not ours
        return None
    head = _said("git", "-C", str(source), "rev-parse", "HEAD").strip()
    changed = _said("git", "-C", str(source), "--no-optional-locks", "status", "--porcelain", "--", ".")
    return (f"{head[:12]}-dirty" if changed else head[:12]) or None


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
        line = subprocess.run(query, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=True).stdout
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


def _most(folders: list[Path], files: Mapping[str, str], mhz: float) -> dict[str, int]:
    """What a folder's files say, the highest of all folders, in MHz."""
    told = {key: [_text(folder / file) for folder in folders] for key, file in files.items()}
    known = {key: [int(text) for text in texts if text.isdecimal()] for key, texts in told.items()}
    return {key: round(max(values) * mhz) for key, values in known.items() if values}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:  # not there, or switched off
        return ""


def _said(*command: str) -> str:
    """What a program prints; "" where it is not here or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
