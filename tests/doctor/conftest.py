"""A machine made of a folder of files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from hgedge.doctor.attempts import Attempt
from hgedge.doctor.machine import Machine

ORIN = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025"
)
BOARD = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0"
CARD = {
    "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
}
MakeMachine = Callable[..., Machine]


@pytest.fixture
def make_machine(tmp_path: Path) -> MakeMachine:
    """make_machine({path: text}, module=Attempt, ..., **fields of Machine)."""

    def make(files: Mapping[str, str] = {}, attempts: Mapping[str, Attempt] = {}, **fields) -> Machine:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return Machine(**{"root": root, "folder": tmp_path, "attempts": attempts, **fields})

    return make


@pytest.fixture
def orin() -> dict[str, str]:
    """The files that tell a Jetson Orin Nano on JetPack 6.2."""
    return {"etc/nv_tegra_release": ORIN, "proc/device-tree/model": BOARD}


@pytest.fixture
def card() -> dict[str, str]:
    """The files that tell an NVIDIA card on the bus."""
    return CARD


@pytest.fixture
def gpu() -> Callable[[str], dict[str, Attempt]]:
    """gpu("sm_90"): what a working driver answers."""
    return lambda capability: {
        "hgedge.doctor.driver": Attempt(
            facts={"status": 0, "cuda": "13.0", "gpu": f"NVIDIA H200 ({capability})", "memory_gib": 139.8}
        )
    }


@pytest.fixture
def stranger():
    """For a while, to access(2), somebody who owns nothing."""
    if os.getuid():
        yield
        return
    os.setreuid(65534, 0)
    yield
    os.setreuid(0, 0)
