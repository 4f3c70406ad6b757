"""JetPack and the power mode of a Jetson."""

from __future__ import annotations

import re
import shutil
import subprocess

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


def jetson(machine: Machine) -> list[Check]:
    """The checks of this page; one line where it is no Jetson."""
    if not machine.is_jetson:
        return [Check("jetpack", "absent", "no Jetson")]
    return [jetpack(machine), power_mode(machine)]


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
