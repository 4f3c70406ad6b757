"""JetPack, power mode, clocks, swap and temperature of a Jetson."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable

from hgedge.doctor.check import Check
from hgedge.doctor.machine import Machine

JETPACKS = {
    "35": "5",
    "36.2": "6.0 (preview)",
    "36.3": "6.0",
    "36.4": "6.1 or 6.2",
    "38": "7.0 or 7.1",
    "39.2": "7.2",
}  # L4T release, by its beginning
LEAST_L4T = 36  # JetPack 6: the first with Python 3.10
TIMEOUT_S = 5
CPUS = "sys/devices/system/cpu/cpu[0-9]*/cpufreq"
GPUS = ("sys/class/devfreq/*gpu*", "sys/class/devfreq/*.ga10b")  # Thor has gpu-gpc-0, Orin 17000000.gpu or .ga10b
MEMORY_CLOCK = "sys/kernel/debug/bpmp/debug/clk/emc"  # root alone may read it
PIN = "sudo jetson_clocks --store && sudo jetson_clocks (afterwards: sudo jetson_clocks --restore)"
SMALL_GIB = 8.5  # boards of 8 GB and less, where the GPU shares the memory that TensorRT builds in
SWAP_GIB = 4  # beside such a board's memory
ADD_SWAP = (
    "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile"
)
ZONES = "sys/class/thermal/thermal_zone[0-9]*"


def jetson(machine: Machine) -> list[Check]:
    """The checks of this page; one line where it is no Jetson."""
    if not machine.is_jetson:
        return [Check("jetpack", "absent", "no Jetson")]
    return [jetpack(machine), power_mode(machine), clocks(machine), swap(machine), temperature(machine)]


def jetpack(machine: Machine) -> Check:
    """The board, and its release of Jetson Linux."""
    board = machine.text("proc/device-tree/model") or "Jetson"
    if not machine.l4t:
        where = "this container" if machine.in_container else "this system"
        fix = "docker run --runtime nvidia -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro ..."
        return Check("jetpack", "missing", f"{board}; /etc/nv_tegra_release is not in {where}", fix)
    known = next((name for start, name in JETPACKS.items() if f"{machine.l4t}.".startswith(f"{start}.")), "?")
    found = f"{board}, L4T {machine.l4t}, JetPack {known}"
    if int(machine.l4t.partition(".")[0]) < LEAST_L4T:
        return Check("jetpack", "broken", f"{found}: too old for hgedge", "install JetPack 6 or newer")
    return Check("jetpack", "ok", found)


def power_mode(machine: Machine) -> Check:
    """What `nvpmodel -q` says; the numbers of modes differ from board to board."""
    tool = shutil.which("nvpmodel", path=machine.environment.get("PATH", ""))
    if tool is None:
        return Check("power mode", "absent", "nvpmodel is not here; a container does not see it")
    try:
        done = subprocess.run([tool, "-q"], capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("power mode", "absent", f"nvpmodel does not answer: {error}")
    mode = re.search(r"NV Power Mode: *(\S+)", done.stdout)
    if mode is None:
        return Check("power mode", "absent", "nvpmodel -q does not say; try sudo nvpmodel -q")
    return Check("power mode", "ok", f"{mode[1]}; note it beside every benchmark")


def clocks(machine: Machine) -> Check:
    """Whether clocks are pinned to the most that the power mode allows, as `jetson_clocks` does: least = most."""
    cpus = [_limits(machine, path, "scaling_{}_freq", 1e-3) for path in _folders(machine, [CPUS])]
    gpus = [_limits(machine, path, "{}_freq", 1e-6) for path in _folders(machine, GPUS)]
    ranges = {"CPU": [known for known in cpus if known], "GPU": [known for known in gpus if known]}
    found = [f"{name} {_range(values)}" for name, values in ranges.items() if values]
    if not found:
        return Check("clocks", "absent", "this system does not show them; a container may not")
    found.append(_memory_clock(machine))
    pinned = all(least == most for values in ranges.values() for least, most in values)
    if pinned and "moves" not in found[-1]:
        return Check("clocks", "ok", f"pinned: {', '.join(found)}")
    return Check("clocks", "ok", f"not pinned: {', '.join(found)}; pin them for a benchmark", PIN)


def _folders(machine: Machine, patterns: Iterable[str]) -> list[str]:
    return [str(path.relative_to(machine.root)) for pattern in patterns for path in sorted(machine.root.glob(pattern))]


def _limits(machine: Machine, folder: str, file: str, mhz: float) -> tuple[int, int] | None:
    """Least and most of a clock in MHz; None where it does not say, such as for a core that is switched off."""
    governor = machine.text(f"{folder}/scaling_governor") or machine.text(f"{folder}/governor")
    ends = ("max", "max") if governor == "performance" else ("min", "max")
    values = [machine.text(f"{folder}/{file.format(end)}") for end in ends]
    return (round(int(values[0]) * mhz), round(int(values[1]) * mhz)) if all(map(str.isdigit, values)) else None


def _range(values: list[tuple[int, int]]) -> str:
    least, most = min(values)[0], max(most for _, most in values)
    return f"{most} MHz" if least == most else f"{least} to {most} MHz"


def _memory_clock(machine: Machine) -> str:
    rate, most = (machine.text(f"{MEMORY_CLOCK}/{file}") for file in ("rate", "max_rate"))
    if not (rate.isdigit() and most.isdigit()):
        return "memory's not shown (see sudo jetson_clocks --show)"
    moves = "" if machine.text(f"{MEMORY_CLOCK}/mrq_rate_locked") == "1" else ", which moves"
    return f"memory {round(int(rate) * 1e-6)} of {round(int(most) * 1e-6)} MHz{moves}"


def swap(machine: Machine) -> Check:
    """Swap on disk, which a build on a small board may need; zram only packs the memory that there is."""
    rows = [line.split() for line in machine.text("proc/swaps").splitlines()[1:]]
    gib = {True: 0.0, False: 0.0}
    for row in rows:
        gib["zram" in row[0]] += int(row[2]) / 2**20
    memory = re.search(r"(?m)^MemTotal:\s+(\d+) kB", machine.text("proc/meminfo"))
    total = int(memory[1]) / 2**20 if memory else 0.0
    on_disk = f"{gib[False]:.1f} GiB on disk" if gib[False] else "none on disk"
    found = f"{on_disk}, {gib[True]:.1f} GiB of zram, which is memory itself" if gib[True] else on_disk
    if total and total < SMALL_GIB and gib[False] < SWAP_GIB:
        return Check("swap", "missing", f"{found}; building with {total:.1f} GiB of memory may need more", ADD_SWAP)
    return Check("swap", "ok", found)


def temperature(machine: Machine) -> Check:
    """The hottest zone, and where it slows the clocks down; a zone that is switched off does not answer."""
    zones = []
    for folder in _folders(machine, [ZONES]):
        millidegrees = machine.text(f"{folder}/temp")
        if re.fullmatch(r"-?\d+", millidegrees):
            name = machine.text(f"{folder}/type").removesuffix("-thermal")
            zones.append((int(millidegrees) / 1000, name, _throttles_at(machine, folder)))
    if not zones:
        return Check("temperature", "absent", "this system does not show it; a container may not")
    celsius, name, limit = max(zones)
    found = f"{celsius:.1f} °C ({name})"
    if limit and celsius >= limit:
        fix = "let it cool; give it air, a fan, or a lower power mode"
        return Check("temperature", "missing", f"{found}: throttled from {limit:.0f} °C on", fix)
    return Check("temperature", "ok", f"{found}; it throttles at {limit:.0f} °C" if limit else found)


def _throttles_at(machine: Machine, folder: str) -> float:
    """The lowest trip point at which clocks are lowered, in °C; 0 where there is none."""
    trips = [path[: -len("type")] for path in _folders(machine, [f"{folder}/trip_point_*_type"])]
    passive = [machine.text(f"{trip}temp") for trip in trips if machine.text(f"{trip}type") == "passive"]
    return min((int(value) / 1000 for value in passive if value.isdigit()), default=0.0)
