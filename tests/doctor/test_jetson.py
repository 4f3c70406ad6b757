from __future__ import annotations

import pytest

from hgedge.doctor.jetson import clocks, jetpack, jetson, swap, temperature

CPU = "sys/devices/system/cpu/cpu{}/cpufreq"
ORIN_GPU, THOR_GPU = "sys/class/devfreq/17000000.gpu", "sys/class/devfreq/gpu-gpc-0"
MEMORY = "sys/kernel/debug/bpmp/debug/clk/emc"
ZONE = "sys/class/thermal/thermal_zone{}"
SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
ZRAM = "".join(f"/dev/zram{n}                              partition\t650184\t\t0\t\t5\n" for n in range(6))
FILE = "/swapfile                               file\t\t8388604\t\t0\t\t-2\n"
ORIN_NANO_MEMORY = "MemTotal:        7802384 kB\nMemFree:         5112236 kB\n"


def test_a_pc_is_no_jetson(make_machine) -> None:
    assert [(check.name, check.state, check.found) for check in jetson(make_machine())] == [
        ("jetpack", "absent", "no Jetson")
    ]


@pytest.mark.parametrize(
    ("release", "found", "state"),
    [
        ("R36 (release), REVISION: 4.3", "L4T 36.4.3, JetPack 6.1 or 6.2", "ok"),
        ("R36 (release), REVISION: 3.0", "L4T 36.3.0, JetPack 6.0", "ok"),
        ("R38 (release), REVISION: 2.0", "L4T 38.2.0, JetPack 7.0 or 7.1", "ok"),
        ("R39 (release), REVISION: 2", "L4T 39.2, JetPack 7.2", "ok"),
        ("R35 (release), REVISION: 4.1", "JetPack 5: too old", "broken"),
        ("R44 (release), REVISION: 1.0", "L4T 44.1.0, JetPack ?", "ok"),
    ],
)
def test_releases(make_machine, release: str, found: str, state: str) -> None:
    check = jetpack(make_machine({"etc/nv_tegra_release": f"# {release}, GCID: 1, BOARD: generic"}))
    assert check.state == state and found in check.found


def test_a_container_without_the_release(make_machine, orin) -> None:
    check = jetpack(make_machine({"proc/device-tree/model": orin["proc/device-tree/model"], ".dockerenv": ""}))
    assert check.state == "missing" and "Jetson Orin Nano" in check.found and "/etc/nv_tegra_release" in check.fix


@pytest.mark.parametrize(
    ("script", "state", "found"),
    [
        ("echo 'NV Power Mode: MAXN_SUPER'; echo 2", "ok", "MAXN_SUPER; note it beside every benchmark"),
        ("exit 1", "absent", "nvpmodel -q does not say; try sudo nvpmodel -q"),
        (None, "absent", "nvpmodel is not here; a container does not see it"),
    ],
)
def test_power_mode(make_machine, orin, tmp_path, script: str | None, state: str, found: str) -> None:
    if script is not None:
        (tmp_path / "nvpmodel").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvpmodel").chmod(0o755)
    check = jetson(make_machine(orin, environment={"PATH": str(tmp_path)}))[1]
    assert (check.name, check.state, check.found) == ("power mode", state, found)


def clock_files(cpu: tuple[int, int], gpu: tuple[int, int], folder: str = ORIN_GPU, governor: str = "schedutil"):
    """sysfs of a Jetson with two cores: least and most of the CPU's clock in kHz and the GPU's in Hz."""
    cpus = {
        f"{CPU.format(core)}/scaling_{name}": f"{value}\n"
        for core in (0, 1)
        for name, value in {"min_freq": cpu[0], "max_freq": cpu[1], "cur_freq": cpu[1], "governor": governor}.items()
    }
    gpus = {"min_freq": gpu[0], "max_freq": gpu[1], "cur_freq": gpu[0], "governor": "nvhost_podgov"}
    return cpus | {f"{folder}/{name}": f"{value}\n" for name, value in gpus.items()}


def memory_files(rate: int, locked: int) -> dict[str, str]:
    return {
        f"{MEMORY}/rate": f"{rate}\n",
        f"{MEMORY}/max_rate": "2133000000\n",
        f"{MEMORY}/mrq_rate_locked": f"{locked}\n",
    }


HIDDEN = "memory's not shown (see sudo jetson_clocks --show)"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (
            clock_files((115200, 1510400), (306000000, 624750000)),
            f"not pinned: CPU 115 to 1510 MHz, GPU 306 to 625 MHz, {HIDDEN}; pin them for a benchmark",
        ),
        (
            clock_files((1510400, 1510400), (624750000, 624750000)),
            f"pinned: CPU 1510 MHz, GPU 625 MHz, {HIDDEN}",
        ),
        (
            clock_files((1510400, 1510400), (306000000, 624750000)),
            f"not pinned: CPU 1510 MHz, GPU 306 to 625 MHz, {HIDDEN}; pin them for a benchmark",
        ),
        (
            clock_files((115200, 2601000), (1575000000, 1575000000), THOR_GPU, "performance"),
            f"pinned: CPU 2601 MHz, GPU 1575 MHz, {HIDDEN}",
        ),
        (
            clock_files((1510400, 1510400), (624750000, 624750000)) | memory_files(2133000000, 1),
            "pinned: CPU 1510 MHz, GPU 625 MHz, memory 2133 of 2133 MHz",
        ),
        (
            clock_files((1510400, 1510400), (624750000, 624750000)) | memory_files(665600000, 0),
            "not pinned: CPU 1510 MHz, GPU 625 MHz, memory 666 of 2133 MHz, which moves; pin them for a benchmark",
        ),
    ],
    ids=["free", "pinned", "GPU free", "Thor", "root", "memory free"],
)
def test_clocks(make_machine, files: dict[str, str], found: str) -> None:
    check = clocks(make_machine(files))
    pin = "sudo jetson_clocks --store && sudo jetson_clocks (afterwards: sudo jetson_clocks --restore)"
    assert (check.state, check.found) == ("ok", found)
    assert check.fix == (pin if found.startswith("not") else None)


def test_a_core_that_is_switched_off_shows_no_clock(make_machine) -> None:
    files = clock_files((1510400, 1510400), (624750000, 624750000)) | {
        f"{CPU.format(1)}/scaling_{end}_freq": "" for end in ("min", "max")
    }
    assert clocks(make_machine(files)).found.startswith("pinned: CPU 1510 MHz")


def test_no_clocks_to_see(make_machine) -> None:
    assert clocks(make_machine()).state == "absent"


@pytest.mark.parametrize(
    ("swaps", "memory", "state", "found"),
    [
        (
            ZRAM,
            ORIN_NANO_MEMORY,
            "missing",
            "none on disk, 3.7 GiB of zram, which is memory itself; building with 7.4 GiB",
        ),
        ("", ORIN_NANO_MEMORY, "missing", "none on disk; building with 7.4 GiB of memory may need more"),
        (ZRAM + FILE, ORIN_NANO_MEMORY, "ok", "8.0 GiB on disk, 3.7 GiB of zram, which is memory itself"),
        (ZRAM, "MemTotal:       64348016 kB\n", "ok", "none on disk, 3.7 GiB of zram, which is memory itself"),
    ],
    ids=["zram", "none", "file", "AGX"],
)
def test_swap(make_machine, swaps: str, memory: str, state: str, found: str) -> None:
    check = swap(make_machine({"proc/swaps": SWAPS + swaps, "proc/meminfo": memory}))
    assert check.state == state and check.found.startswith(found)
    assert (check.fix or "").endswith("sudo swapon /swapfile" if state == "missing" else "")


def zones(**celsius: float | None) -> dict[str, str]:
    """Thermal zones by name, each throttling at 99 °C; None for one that is switched off and does not answer."""
    files = {}
    for index, (name, value) in enumerate(celsius.items()):
        folder = ZONE.format(index)
        trips = [("critical", 104500), ("passive", 99000), ("active", 46000)]
        files |= {
            f"{folder}/type": f"{name}-thermal\n",
            f"{folder}/temp": "" if value is None else f"{value * 1000:.0f}\n",
        }
        files |= {f"{folder}/trip_point_{trip}_type": f"{kind}\n" for trip, (kind, _) in enumerate(trips)}
        files |= {f"{folder}/trip_point_{trip}_temp": f"{limit}\n" for trip, (_, limit) in enumerate(trips)}
    return files


def test_temperature(make_machine) -> None:
    check = temperature(make_machine(zones(cpu=49.5, gpu=None, tj=51.25, cv0=-256)))
    assert (check.state, check.found) == ("ok", "51.2 °C (tj); it throttles at 99 °C")


def test_a_hot_board(make_machine) -> None:
    check = temperature(make_machine(zones(cpu=98.0, tj=99.5)))
    assert (check.state, check.found) == ("missing", "99.5 °C (tj): throttled from 99 °C on") and "fan" in check.fix


def test_a_zone_without_trip_points_and_none_at_all(make_machine) -> None:
    assert temperature(make_machine({})).state == "absent"
    files = {f"{ZONE.format(0)}/type": "tboard\n", f"{ZONE.format(0)}/temp": "40000\n"}
    assert temperature(make_machine(files)).found == "40.0 °C (tboard)"
