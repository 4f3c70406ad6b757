"""Sensors are folders of files, as the kernel's documentation and listings from boards have them."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from hgedge.benchmark.energy import (
    PowerSampler,
    PowerTrace,
    energy_a_pose,
    rails_from_tegrastats,
    read_rails,
    total_rails,
    trace_from_tegrastats,
    trace_of,
)
from hgedge.errors import BackendUnavailable, ConfigError

EXACT = 1e-9  # relative: the same sums in floating point
LABELS = {7: "sum of shunt voltages"}  # of every INA3221


def ina3221(*channels: tuple[str, int, int]) -> dict[str, str]:
    """Files of an INA3221: label, mV and mA of each channel; shunts and their sum beside them."""
    files = {"name": "ina3221", "in7_label": LABELS[7], "in7_input": "12", "curr4_input": "99999"}
    for number, (label, millivolts, milliamperes) in enumerate(channels, 1):
        files |= {f"in{number}_label": label, f"in{number}_input": str(millivolts), f"in{number}_enable": "1"}
        files |= {f"curr{number}_input": str(milliamperes), f"in{number + 3}_input": "4000"}
    return files


ORIN_NANO = {"hwmon1": ina3221(("VDD_IN", 4984, 976), ("VDD_CPU_GPU_CV", 4976, 144), ("VDD_SOC", 4976, 288))}
AGX_ORIN = {
    "hwmon0": {"name": "tmp451", "temp1_input": "42000"},
    "hwmon3": ina3221(("VDD_GPU_SOC", 11904, 360), ("VDD_CPU_CV", 11904, 120), ("VIN_SYS_5V0", 4968, 953)),
    "hwmon4": ina3221(("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 4968, 80), ("NC", 0, 0)),
}
INA238 = {"name": "ina238", "in0_input": "1", "in1_input": "19800", "curr1_input": "1278", "power1_input": "25308000"}
THOR = {
    "hwmon2": ina3221(("VDD_GPU", 19800, 0), ("VDD_CPU_SOC_MSS", 19800, 219), ("VIN_SYS_5V0", 5000, 1026)),
    "hwmon5": INA238,
    "hwmon6": {"name": "ucsi_source_psy", "in1_label": "VIN", "in1_input": "20000", "curr1_input": "5000"},
}


@pytest.fixture
def board(tmp_path: Path):
    """board(sensors): a folder that stands for /."""

    def make(sensors: Mapping[str, Mapping[str, str]]) -> Path:
        for folder, files in sensors.items():
            path = tmp_path / "sys/class/hwmon" / folder
            path.mkdir(parents=True)
            for name, text in files.items():
                (path / name).write_text(f"{text}\n")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("sensors", "rails", "total"),
    [
        (ORIN_NANO, {"VDD_IN": 4.864384, "VDD_CPU_GPU_CV": 0.716544, "VDD_SOC": 1.433088}, ("VDD_IN",)),
        (
            AGX_ORIN,
            {"VDD_GPU_SOC": 4.28544, "VDD_CPU_CV": 1.42848, "VIN_SYS_5V0": 4.734504, "VDDQ_VDD2_1V8AO": 0.39744},
            ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
        ),
        (THOR, {"VDD_GPU": 0.0, "VDD_CPU_SOC_MSS": 4.3362, "VIN_SYS_5V0": 5.13, "VIN": 25.308}, ("VIN",)),
    ],
    ids=["Orin Nano", "AGX Orin", "Thor"],
)
def test_rails_of_boards(board, sensors, rails: dict[str, float], total: tuple[str, ...]) -> None:
    found = read_rails(board(sensors))
    assert found == pytest.approx(rails, rel=EXACT)
    chosen, scope = total_rails(found)
    assert chosen == total and ("carrier board" in scope) and ("without" in scope) == (total != ("VIN",))


def test_a_label_names_thors_sensor_where_there_is_one(board) -> None:
    assert read_rails(board({"hwmon5": INA238 | {"label": "VIN_BOARD"}})) == {"VIN_BOARD": 25.308}


def test_a_channel_that_is_switched_off_is_left_out(board) -> None:
    files = ina3221(("VDD_IN", 5000, 1000), ("VDD_SOC", 5000, 100)) | {"in2_input": "", "curr2_input": ""}
    assert read_rails(board({"hwmon1": files})) == {"VDD_IN": 5.0}


@pytest.mark.parametrize(
    ("line", "rails"),
    [
        (
            "02-15-2024 10:21:15 RAM 2498/7620MB (lfb 2x4MB) SWAP 0/3810MB (cached 0MB) CPU [2%@729,0%@729,1%@729,"
            "0%@729,0%@729,0%@729] EMC_FREQ 0%@2133 GR3D_FREQ 0%@[305] NVDEC off VIC_FREQ 729 APE 174 cpu@44.1C "
            "soc2@43.3C tj@45C VDD_IN 4872mW/4900mW VDD_CPU_GPU_CV 716mW/720mW VDD_SOC 1433mW/1440mW",
            {"VDD_IN": 4.872, "VDD_CPU_GPU_CV": 0.716, "VDD_SOC": 1.433},
        ),
        (
            "VDD_GPU -392mW/0mW VDD_CPU_SOC_MSS 4336mW/4336mW VIN_SYS_5V0 5129mW/5129mW VIN 25308mW/25200mW",
            {"VDD_GPU": -0.392, "VDD_CPU_SOC_MSS": 4.336, "VIN_SYS_5V0": 5.129, "VIN": 25.308},
        ),
        ("RAM 2498/7620MB (lfb 2x4MB) CPU [off,off]", {}),
    ],
    ids=["Orin Nano", "Thor", "no rails"],
)
def test_tegrastats(line: str, rails: dict[str, float]) -> None:
    assert rails_from_tegrastats(line) == pytest.approx(rails, rel=EXACT)


def test_a_log_of_tegrastats() -> None:
    lines = ["started", *(f"x VDD_IN {milliwatts}mW/0mW" for milliwatts in (4000, 6000, 5000))]
    trace = trace_from_tegrastats(lines, 0.1)
    assert trace.seconds == pytest.approx(0.2) and trace.joules("VDD_IN") == pytest.approx(0.1 * 5 + 0.1 * 5.5)
    with pytest.raises(BackendUnavailable, match="no line shows power, such as 'VDD_IN"):
        trace_from_tegrastats(["RAM 1/2MB"], 0.1)


def test_energy_is_the_integral_of_power() -> None:
    """Uneven samples of a sine, against its integral; the trapezoids' error is below h^2 / 12 x 2 pi^2 x 2 here."""
    times = np.sort(np.random.default_rng(0).uniform(0, 1, 2000))
    times[0], times[-1] = 0.0, 1.0
    watts = {"A": 10 + 2 * np.sin(2 * math.pi * times), "B": np.full(2000, 3.0)}
    trace = PowerTrace(times, watts)
    bound = np.diff(times).max() ** 2 / 12 * 2 * (2 * math.pi) ** 2
    assert abs(trace.joules("A") - 10) <= bound
    assert abs(trace.joules("A", "B") - 13) <= bound and trace.mean_w("B") == pytest.approx(3)


def test_energy_a_pose() -> None:
    idle = trace_of([(0, {"VDD_IN": 4.0, "VDD_SOC": 1.0}), (10, {"VDD_IN": 4.0, "VDD_SOC": 1.0})])
    run = trace_of([(time, {"VDD_IN": watts, "VDD_SOC": 1.5}) for time, watts in ((100, 9), (102, 11), (110, 11))])
    found = energy_a_pose(run, idle, poses=500)
    assert found == {
        "scope": "module, without the carrier board",
        "rails": ["VDD_IN"],
        "seconds": 10.0,
        "poses": 500,
        "mean_w": 10.8,  # (2 x 10 + 8 x 11) / 10
        "idle_w": 4.0,
        "mj_a_pose": 216.0,  # 108 J / 500
        "mj_a_pose_above_idle": 136.0,
        "rails_w": {"VDD_IN": {"run": 10.8, "idle": 4.0}, "VDD_SOC": {"run": 1.5, "idle": 1.0}},
    }
    with pytest.raises(ConfigError, match="energy a pose needs poses, but got 0"):
        energy_a_pose(run, idle, 0)


def test_rails_without_a_known_total() -> None:
    with pytest.raises(
        BackendUnavailable, match=r"no total among the rails VDD_X; known are: VDD_IN; VIN; VDD_GPU_SOC \+"
    ):
        total_rails(["VDD_X"])


def test_samples_that_make_no_trace() -> None:
    with pytest.raises(ConfigError, match="power needs two samples or more, at rising times, but got 1"):
        trace_of([(0.0, {"VDD_IN": 1.0})])
    with pytest.raises(BackendUnavailable, match="no power sensor answers: .* run it on a Jetson"):
        trace_of([(0.0, {}), (1.0, {})])


def test_the_sampler_covers_its_block(board) -> None:
    root = board(ORIN_NANO)
    readings, third = [], threading.Event()

    def read() -> Mapping[str, float]:
        readings.append(threading.current_thread().name)
        if len(readings) == 3:
            third.set()
        return read_rails(root)

    with PowerSampler(read, interval_s=0.001) as sampler:
        third.wait()
    assert len(sampler.trace.times_s) == len(readings) >= 4  # at the beginning, at the end, and between
    assert readings[0] == readings[-1] == "MainThread" and set(readings[1:-1]) == {"power_0"}
    assert np.all(np.diff(sampler.trace.times_s) > 0)
    assert sampler.trace.mean_w("VDD_IN") == pytest.approx(4.864384, rel=EXACT)


def test_a_sampler_that_fails_says_so() -> None:
    answers = iter([{"VDD_IN": 1.0}])
    failed = threading.Event()

    def read() -> Mapping[str, float]:
        try:
            return next(answers)
        except StopIteration:
            failed.set()
            raise OSError("the sensor is gone") from None

    with pytest.raises(OSError, match="the sensor is gone"), PowerSampler(read, interval_s=0.001):
        failed.wait()
    with pytest.raises(KeyError), PowerSampler(lambda: {"VDD_IN": 1.0}):
        raise KeyError("the block's own error stays")


def test_no_sensors_here(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="no power sensor answers"), PowerSampler(lambda: read_rails(tmp_path)):
        pass
