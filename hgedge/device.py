"""The processor of this machine, with the features that engines depend on."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

from hgedge.spec import DeviceInfo

FEATURES = {
    "x86_64": ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    "aarch64": ("asimd", "asimddp", "i8mm", "bf16"),
}
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}  # as Windows and macOS call them
CPUINFO = Path("/proc/cpuinfo")
BOARD = Path("/proc/device-tree/model")  # what an ARM board calls itself; its cpuinfo holds only numbers


@functools.cache
def cpu() -> DeviceInfo:
    """The CPU of this machine; without features where the system does not list them."""
    cpuinfo = CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.is_file() else ""
    board = BOARD.read_text(encoding="utf-8", errors="replace").strip("\0 \n") if BOARD.is_file() else ""
    return cpu_from_cpuinfo(cpuinfo, platform.machine(), board or platform.processor())


def cpu_from_cpuinfo(cpuinfo: str, machine: str, board: str = "") -> DeviceInfo:
    """Read a CPU from the text of `/proc/cpuinfo`; of unlike cores only the features that all have count.

    Args:
        cpuinfo: The text; may be empty.
        machine: The architecture as the system names it.
        board: What to call the CPU if the text holds no name.
    """
    architecture = ARCHITECTURES.get(machine.lower(), machine.lower())
    names, flags = [], []
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() in ("flags", "features"):
            flags.append(set(value.split()))
        elif key.strip().lower() == "model name":
            names.append(value.strip())
    common = set.intersection(*flags) if flags else set()
    features = tuple(feature for feature in FEATURES.get(architecture, ()) if feature in common)
    name = next((name for name in (*names, board) if name), f"{architecture} CPU")
    return DeviceInfo(name=name, architecture=architecture, features=features)
