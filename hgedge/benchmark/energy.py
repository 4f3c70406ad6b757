"""Energy a pose on a Jetson, from the sensors on its supply rails: INA3221 on the module, INA238 on Thor's carrier.

    power of a rail    in*_input [mV] x curr*_input [mA], or power1_input [uW] where the sensor multiplies itself
    energy             the trapezoids under power over time
    energy a pose      energy of the run / poses, and the same above the power when idle, which is measured before

Rails of the module leave out the carrier board, its regulators and what is plugged into it; Thor's VIN is all of it.

Source: kernel.org, Documentation/hwmon/ina3221.rst and ina238.rst; NVIDIA, Jetson Linux Developer Guide, power
monitors and tegrastats.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from hgedge.errors import BackendUnavailable, ConfigError

HWMONS = "sys/class/hwmon/hwmon*"
UNCONNECTED = ("", "NC")  # what drivers call a channel without a rail
TOTALS = {  # rails that together are all of it; the first set that is there counts
    ("VDD_IN",): "module, without the carrier board",  # Orin Nano, Orin NX
    ("VIN",): "module and carrier board",  # Thor
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"): "module, without the carrier board",  # AGX Orin
    ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"): "module, without the carrier board",  # Thor without its VIN
}
TEGRASTATS = re.compile(r"\b([A-Z][A-Z0-9_]*) (-?\d+)mW/-?\d+mW")  # rail, power now / since it was started
INTERVAL_S = 0.1

Read = Callable[[], Mapping[str, float]]


def read_rails(root: Path = Path("/")) -> dict[str, float]:
    """The power of every rail that has a sensor and a name, in W, at this moment."""
    found: dict[str, float] = {}
    for folder in sorted(root.glob(HWMONS)):
        if _text(folder / "name").startswith("ina"):
            found |= _multiplying(folder) or _by_channel(folder)
    return found


def _multiplying(folder: Path) -> dict[str, float]:
    """The rail of a sensor that gives power itself; Thor's has no label in some kernels, and is its VIN."""
    power = _number(folder / "power1_input")
    name = _text(folder / "in1_label") or _text(folder / "label") or "VIN"
    return {} if power is None else {name: power * 1e-6}


def _by_channel(folder: Path) -> dict[str, float]:
    """The rails of a sensor with several channels; those without a current are sums or shunts."""
    found = {}
    for label in sorted(folder.glob("in*_label")):
        channel = label.name[len("in") : -len("_label")]
        volts, amperes = _number(folder / f"in{channel}_input"), _number(folder / f"curr{channel}_input")
        if _text(label) not in UNCONNECTED and volts is not None and amperes is not None:
            found[_text(label)] = volts * amperes * 1e-6
    return found


def rails_from_tegrastats(line: str) -> dict[str, float]:
    """The power of every rail in a line of `tegrastats`, in W; of "VDD_IN 4872mW/4900mW" the first."""
    return {name: int(milliwatts) * 1e-3 for name, milliwatts in TEGRASTATS.findall(line)}


@dataclass(frozen=True)
class PowerTrace:
    """Power over time.

    Attributes:
        times_s: (N,) float64, rising.
        watts: Rail -> (N,) float64.
    """

    times_s: np.ndarray
    watts: Mapping[str, np.ndarray]

    @property
    def seconds(self) -> float:
        """From the first sample to the last."""
        return float(self.times_s[-1] - self.times_s[0])

    def joules(self, *rails: str) -> float:
        """Energy of some rails together, by trapezoids."""
        watts = np.sum([self.watts[rail] for rail in rails], axis=0)
        return float(np.sum(np.diff(self.times_s) * (watts[1:] + watts[:-1]) / 2))

    def mean_w(self, *rails: str) -> float:
        """Mean power of some rails together."""
        return self.joules(*rails) / self.seconds


def trace_of(samples: Iterable[tuple[float, Mapping[str, float]]]) -> PowerTrace:
    """Samples of a time in seconds and the rails' power in W, as a trace of the rails that all of them have.

    Raises:
        BackendUnavailable: There are no rails.
        ConfigError: There are fewer than two samples, or their times do not rise.
    """
    taken = list(samples)
    times, readings = np.array([time_s for time_s, _ in taken]), [reading for _, reading in taken]
    if len(taken) < 2 or np.any(np.diff(times) <= 0):
        raise ConfigError(f"power needs two samples or more, at rising times, but got {len(taken)}; measure for longer")
    names = [name for name in readings[0] if all(name in reading for reading in readings)]
    if not names:
        raise BackendUnavailable(
            "no power sensor answers: none of /sys/class/hwmon/hwmon* is an INA3221 or INA238 with named rails; "
            "run it on a Jetson"
        )
    return PowerTrace(times, {name: np.array([reading[name] for reading in readings]) for name in names})


def trace_from_tegrastats(lines: Iterable[str], interval_s: float) -> PowerTrace:
    """What `tegrastats --interval MILLISECONDS` printed, as a trace; lines without rails are left out.

    Raises:
        BackendUnavailable: No line shows power.
        ConfigError: Only one does.
    """
    readings = [reading for line in lines if (reading := rails_from_tegrastats(line))]
    if not readings:
        raise BackendUnavailable("no line shows power, such as 'VDD_IN 4872mW/4900mW'; run tegrastats on a Jetson")
    return trace_of((index * interval_s, reading) for index, reading in enumerate(readings))


class PowerSampler:
    """Samples power in a thread of its own while its `with` block runs; `trace` is there after it.

    Attributes:
        trace: What was sampled: from the block's beginning to its end.
    """

    trace: PowerTrace

    def __init__(self, read: Read = read_rails, interval_s: float = INTERVAL_S) -> None:
        self._read, self._interval_s = read, interval_s
        self._samples: list[tuple[float, Mapping[str, float]]] = []
        self._done = threading.Event()
        self._pool = ThreadPoolExecutor(1, "power")

    def __enter__(self) -> PowerSampler:
        self._sample()
        self._sampling = self._pool.submit(self._sample_on)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._pool.shutdown()
        if kind is None:
            self._sampling.result()  # raises what it raised
            self._sample()
            self.trace = trace_of(self._samples)

    def _sample_on(self) -> None:
        while not self._done.wait(self._interval_s):
            self._sample()

    def _sample(self) -> None:
        """Take a sample, at the middle of the time that its reading takes."""
        started = time.monotonic()
        rails = self._read()
        self._samples.append(((started + time.monotonic()) / 2, rails))


def total_rails(names: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """The rails that together are the whole consumption, and what they cover.

    Raises:
        BackendUnavailable: No set of rails that hgedge knows is among them.
    """
    names = set(names)
    for rails, scope in TOTALS.items():
        if names.issuperset(rails):
            return rails, scope
    known = "; ".join(" + ".join(rails) for rails in TOTALS)
    raise BackendUnavailable(f"no total among the rails {', '.join(sorted(names)) or 'none'}; known are: {known}")


def energy_a_pose(run: PowerTrace, idle: PowerTrace, poses: int) -> dict[str, Any]:
    """What a pose costs, as JSON: in all, and above what the machine takes when idle.

    Args:
        run: While poses were estimated.
        idle: Before, on the same machine in the same power mode, with clocks as in the run.
        poses: That were estimated in the run.

    Returns:
        scope and rails of the total; seconds and poses of the run; mean_w and idle_w; mj_a_pose in all and
        mj_a_pose_above_idle, in mJ; rails_w: mean power of each rail in the run and when idle.

    Raises:
        BackendUnavailable: The rails have no total that hgedge knows.
        ConfigError: There are no poses.
    """
    if poses < 1:
        raise ConfigError(f"energy a pose needs poses, but got {poses}")
    rails, scope = total_rails(set(run.watts) & set(idle.watts))
    mean_w, idle_w = run.mean_w(*rails), idle.mean_w(*rails)
    mj_a_watt = 1e3 * run.seconds / poses
    return {
        "scope": scope,
        "rails": list(rails),
        "seconds": round(run.seconds, 3),
        "poses": poses,
        "mean_w": round(mean_w, 3),
        "idle_w": round(idle_w, 3),
        "mj_a_pose": round(mean_w * mj_a_watt, 3),
        "mj_a_pose_above_idle": round((mean_w - idle_w) * mj_a_watt, 3),
        "rails_w": {
            name: {"run": round(run.mean_w(name), 3), "idle": round(idle.mean_w(name), 3)}
            for name in run.watts
            if name in idle.watts
        },
    }


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # not there, or a channel that is switched off
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if re.fullmatch(r"-?\d+", text) else None
