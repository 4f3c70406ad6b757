from __future__ import annotations

from pathlib import Path

import pytest

from hgedge.doctor import processor
from hgedge.doctor.processor import cpu, disk, memory

ARM = "processor : 0\nFeatures : fp asimd crc32 asimddp\nprocessor : 1\nFeatures : fp asimd crc32 asimddp\n"
INTEL = "processor : 0\nmodel name : Intel Xeon\nflags : avx2 avx512f avx512_vnni avx512_bf16 amx_int8 amx_bf16\n"
OLD = "processor : 0\nmodel name : Intel Old\nflags : sse2 avx2\n"


@pytest.mark.parametrize(
    ("cpuinfo", "architecture", "found"),
    [
        (INTEL, "x86_64", "Intel Xeon, 2 cores, x86_64; fast INT8 (AVX-512 VNNI, AMX); fast BF16 (AVX-512 BF16, AMX)"),
        (OLD, "x86_64", "Intel Old, 2 cores, x86_64; no fast INT8: it gains less here; no fast BF16"),
        (ARM, "aarch64", "Some Board, 2 cores, aarch64; fast INT8 (asimddp); no fast BF16"),
    ],
)
def test_cpu_says_what_its_features_buy(make_machine, cpuinfo: str, architecture: str, found: str) -> None:
    files = {"proc/cpuinfo": cpuinfo, "proc/device-tree/model": "Some Board\0"}
    assert cpu(make_machine(files, architecture=architecture, cores=2)).found == found


@pytest.mark.parametrize(("free_kib", "state"), [(4 << 20, "ok"), (1 << 18, "missing")])
def test_memory(make_machine, free_kib: int, state: str) -> None:
    check = memory(make_machine({"proc/meminfo": f"MemTotal: 8388608 kB\nMemAvailable: {free_kib} kB\n"}))
    assert check.state == state and check.found.startswith(f"{free_kib / 2**20:.1f} of 8.0 GiB free")


def test_memory_of_a_system_that_does_not_say(make_machine) -> None:
    assert memory(make_machine()).state == "absent"


def test_disk(make_machine, tmp_path, monkeypatch) -> None:
    check = disk(make_machine())
    assert check.state == "ok" and str(tmp_path) in check.found
    (tmp_path / "engines").mkdir()
    assert str(tmp_path / "engines") in disk(make_machine()).found
    monkeypatch.setattr(processor, "MIN_DISK_GIB", 2**40)
    assert disk(make_machine()).fix == "hgedge build --output DIR (on another disk)"


def test_a_folder_that_may_not_be_written(make_machine, stranger) -> None:
    check = disk(make_machine(folder=Path("/")))
    assert check.state == "missing" and "may not be written" in check.found
