"""CPUs as `/proc/cpuinfo` tells of them."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from hgedge import device

X86 = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8480+
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni avx_vnni avx512_bf16 amx_bf16 amx_tile amx_int8

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8480+
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni avx_vnni avx512_bf16 amx_bf16 amx_tile amx_int8
"""
ARM = """processor\t: 0
Features\t: fp asimd asimddp i8mm bf16
CPU part\t: 0xd42

processor\t: 1
Features\t: fp asimd asimddp
CPU part\t: 0xd03
"""


def test_x86() -> None:
    found = device.cpu_from_cpuinfo(X86, "x86_64")
    assert (found.name, found.architecture) == ("Intel(R) Xeon(R) Platinum 8480+", "x86_64")
    assert found.features == device.FEATURES["x86_64"]


def test_of_unlike_cores_the_common_features_count() -> None:
    found = device.cpu_from_cpuinfo(ARM, "aarch64", board="A board")
    assert (found.name, found.architecture, found.features) == ("A board", "aarch64", ("asimd", "asimddp"))


@pytest.mark.parametrize(
    ("machine", "architecture"), [("AMD64", "x86_64"), ("arm64", "aarch64"), ("riscv64", "riscv64")]
)
def test_without_a_list_there_are_no_features(machine: str, architecture: str) -> None:
    found = device.cpu_from_cpuinfo("", machine)
    assert (found.name, found.architecture, found.features) == (f"{architecture} CPU", architecture, ())


def test_this_machine_is_read_once() -> None:
    assert device.cpu() is device.cpu()
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file() or platform.machine() != "x86_64":
        pytest.skip("no /proc/cpuinfo of an x86_64")
    flags = cpuinfo.read_text(encoding="utf-8").split("flags", 1)[1].splitlines()[0].split()
    assert set(device.cpu().features) == set(device.FEATURES["x86_64"]) & set(flags)
