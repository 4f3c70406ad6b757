"""Python, CPU, memory and disk."""

from __future__ import annotations

import os
import platform
import re
import shutil

import hgedge
from hgedge.device import cpu_from_cpuinfo
from hgedge.doctor.check import Check
from hgedge.doctor.machine import Machine
from hgedge.spec import DeviceInfo

INT8 = {"avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI", "amx_int8": "AMX", "i8mm": "i8mm", "asimddp": "asimddp"}
BF16 = {"avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX", "bf16": "bf16"}
MIN_MEMORY_GIB = 1.0  # the default model's build takes about as much
MIN_DISK_GIB = 0.5  # some dozen bundles


def processor(machine: Machine) -> list[Check]:
    """The checks of this page."""
    return [python(machine), cpu(machine), memory(machine), disk(machine)]


def python(machine: Machine) -> Check:
    """Which Python, and which hgedge."""
    return Check("python", "ok", f"{platform.python_version()} in {machine.prefix}, hgedge {hgedge.__version__}")


def cpu(machine: Machine) -> Check:
    """Name, cores, and what its features buy."""
    board = machine.text("proc/device-tree/model")
    device = cpu_from_cpuinfo(machine.text("proc/cpuinfo"), machine.architecture, board)
    cores = f"{machine.cores} core{'s' * (machine.cores > 1)}"
    return Check("cpu", "ok", f"{device.name}, {cores}, {device.architecture}; {gains(device)}")


def gains(device: DeviceInfo) -> str:
    """What INT8 and BF16 bring on a CPU."""
    int8, bf16 = (
        ", ".join(name for feature, name in names.items() if feature in device.features) for names in (INT8, BF16)
    )
    fast = [f"fast INT8 ({int8})" if int8 else "no fast INT8: it gains less here"]
    return "; ".join([*fast, f"fast BF16 ({bf16})" if bf16 else "no fast BF16"])


def memory(machine: Machine) -> Check:
    """Memory that is free for a build."""
    kib = {key: int(value) for key, value in re.findall(r"(?m)^(\w+):\s+(\d+) kB", machine.text("proc/meminfo"))}
    if "MemTotal" not in kib:
        return Check("memory", "absent", "this system does not say how much there is")
    total, free = kib["MemTotal"] / 2**20, kib.get("MemAvailable", kib["MemTotal"]) / 2**20
    found = f"{free:.1f} of {total:.1f} GiB free"
    if free < MIN_MEMORY_GIB:
        advice = "close other programs or add swap; or build on another machine: hgedge build --no-engine"
        return Check("memory", "missing", f"{found}; a build takes about {MIN_MEMORY_GIB:g} GiB", advice)
    return Check("memory", "ok", found)


def disk(machine: Machine) -> Check:
    """Room where engines go."""
    engines = machine.folder / "engines"
    place = engines if engines.is_dir() else machine.folder
    free = shutil.disk_usage(place).free / 2**30
    name = f"{place.resolve()}"
    if not os.access(place, os.W_OK):
        return Check("disk", "missing", f"{name} may not be written", "hgedge build --output DIR (one of your own)")
    if free < MIN_DISK_GIB:
        return Check("disk", "missing", f"{free:.2f} GiB free in {name}", "hgedge build --output DIR (on another disk)")
    return Check("disk", "ok", f"{free:.1f} GiB free in {name}, where engines go")
