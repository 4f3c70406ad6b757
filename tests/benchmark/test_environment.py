"""What results say of the machine that they come from."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from hgedge.backends.tensorrt.gpu import gpu
from hgedge.benchmark.environment import (
    SMI_FIELDS,
    clocks,
    commit,
    environment,
    gpu_now,
    machine_name,
    power_mode,
    temperatures,
    told_by_smi,
)
from hgedge.errors import BackendUnavailable

H200 = "580.159.03, 143771, 1980, 1980, 3201, 3201, 700.00, 118.34, 34, P0\n"
ORIN = "540.4.0, [N/A], [N/A], [N/A], [N/A], [N/A], [N/A], [Not Supported], [N/A], [N/A]\n"


def test_what_nvidia_smi_says() -> None:
    told = told_by_smi(H200)
    assert tuple(told) == tuple(SMI_FIELDS.values())
    assert told["driver"] == "580.159.03" and told["pstate"] == "P0"
    assert (told["memory_mib"], told["sm_clock_mhz"], told["power_limit_w"], told["temperature_c"]) == (
        143771,
        1980,
        700,
        34,
    )


def test_what_a_gpu_does_not_tell_is_left_out() -> None:
    assert told_by_smi(ORIN) == {"driver": "540.4.0"}


def test_results_name_the_machine() -> None:
    told = json.loads(json.dumps(environment()))
    assert told["cores"] == len(os.sched_getaffinity(0)) and "numpy" in told["libraries"]
    assert re.fullmatch(rf"[a-z0-9-]+-{told['cores']}core", machine_name())
    try:
        name = gpu().name
    except BackendUnavailable:
        assert "gpu" not in told
        with pytest.raises(BackendUnavailable, match="no NVIDIA GPU"):
            gpu_now()
    else:
        assert told["gpu"]["name"] == name
        assert machine_name().startswith(re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"))


def test_clocks_of_cores_and_of_a_jetsons_gpu(tmp_path: Path) -> None:
    for core, (now, most) in enumerate([(729600, 1510400), (1510400, 1510400)]):
        write(tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq", scaling_cur_freq=now, scaling_max_freq=most)
    write(tmp_path / "sys/class/devfreq/17000000.gpu", cur_freq=306000000, max_freq=624750000)
    assert clocks(tmp_path) == {"cpu": {"now": 1510, "most": 1510}, "gpu": {"now": 306, "most": 625}}


def test_clocks_of_a_virtual_machine(tmp_path: Path) -> None:
    write(tmp_path / "proc", cpuinfo="processor : 0\ncpu MHz\t\t: 2596.130\nprocessor : 1\ncpu MHz\t\t: 2400.5\n")
    assert clocks(tmp_path) == {"cpu": {"now": 2596}}
    assert clocks(tmp_path / "elsewhere") == {}


def test_temperatures_of_zones_and_of_the_cpus_sensors(tmp_path: Path) -> None:
    write(tmp_path / "sys/class/thermal/thermal_zone0", type="cpu-thermal", temp=48500)
    write(tmp_path / "sys/class/thermal/thermal_zone1", type="acpitz", temp=27800)
    write(tmp_path / "sys/class/thermal/thermal_zone2", type="acpitz", temp=31250)
    write(tmp_path / "sys/class/thermal/thermal_zone3", type="cv0-thermal")  # switched off: it has no reading
    write(tmp_path / "sys/class/hwmon/hwmon0", name="k10temp", temp1_input=62125, temp3_input=58000)
    write(tmp_path / "sys/class/hwmon/hwmon1", name="nvme", temp1_input=40000)
    assert temperatures(tmp_path) == {"cpu-thermal": 48.5, "acpitz": 31.2, "k10temp": 62.1}


def test_the_power_mode_is_what_nvpmodel_says(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert power_mode() is None
    tool = tmp_path / "nvpmodel"
    tool.write_text("#!/bin/sh\n[ \"$1\" = -q ] && printf 'NV Power Mode: MAXN_SUPER\\n2\\n'\n")
    tool.chmod(0o755)
    assert power_mode() == "MAXN_SUPER"


def test_the_commit_of_a_checkout(tmp_path: Path) -> None:
    source = tmp_path / "hgedge"
    write(source, **{"spec.py": "one"})
    git(tmp_path.parent, "init", "-q")  # a repository farther up is not ours
    assert commit(source) is None
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    head = git(tmp_path, "rev-parse", "HEAD")[:12]
    assert commit(source) == head
    write(tmp_path / "benchmarks/results", **{"new.json": "{}"})  # results do not change what was measured
    assert commit(source) == head
    write(source, **{"new.py": ""})
    assert commit(source) == f"{head}-dirty"


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
