"""The driver: a small C library stands for NVIDIA's where there is no GPU, and is asked as the real one is."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from hgedge.doctor.attempts import Attempt, try_import
from hgedge.doctor.nvidia import driver, how_to_build, pycuda

CUDA = """
#include <string.h>
#include <stddef.h>
int cuInit(unsigned flags) { return STATUS; }
int cuDriverGetVersion(int *version) { *version = 13020; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 0; return STATUS; }
int cuDeviceGetCount(int *count) { *count = 1; return STATUS; }
int cuDeviceGetName(char *name, int length, int device) { strcpy(name, "Drawn GPU"); return STATUS; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 8 : 7; return STATUS; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)8 << 30; return STATUS; }
"""
VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.82.07  Wed Aug 27 17:53:02 UTC 2025\n"
NO_DRIVER = {"hgedge.doctor.driver": Attempt(error="libcuda.so.1: cannot open shared object file: No such file")}


@pytest.fixture
def fake_driver(tmp_path, monkeypatch):
    """fake_driver(status): what becomes of the import that asks a driver whose calls end so."""
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler, cc")

    def ask(status: int) -> dict[str, Attempt]:
        (tmp_path / "cuda.c").write_text(CUDA)
        built = ["-shared", "-fPIC", f"-DSTATUS={status}", "-o", tmp_path / "libcuda.so.1", tmp_path / "cuda.c"]
        subprocess.run([compiler, *built], check=True)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
        return {"hgedge.doctor.driver": try_import("hgedge.doctor.driver")}

    return ask


@pytest.mark.skipif(sys.platform != "linux", reason="LD_LIBRARY_PATH is Linux's")
def test_a_gpu_that_answers(make_machine, fake_driver) -> None:
    check = driver(make_machine({"proc/driver/nvidia/version": VERSION}, fake_driver(0)))
    assert (check.state, check.found) == ("ok", "Drawn GPU (sm_87), 8.0 GiB, driver 580.82.07, CUDA 13.2")


@pytest.mark.skipif(sys.platform != "linux", reason="LD_LIBRARY_PATH is Linux's")
@pytest.mark.parametrize(("status", "fix"), [(803, "sudo reboot"), (999, "nvidia_uvm"), (46, "sudo reboot")])
def test_a_driver_that_does_not_start(make_machine, fake_driver, status: int, fix: str) -> None:
    check = driver(make_machine({}, fake_driver(status)))
    assert check.state == "broken" and f"CUDA error {status}" in check.found and fix in check.fix


def test_a_driver_without_a_gpu(make_machine, card) -> None:
    no_device = {"hgedge.doctor.driver": Attempt(facts={"status": 100, "cuda": "13.0", "gpu": "", "memory_gib": 0})}
    assert driver(make_machine({}, no_device)).state == "absent"
    hidden = driver(make_machine(card, no_device))
    assert hidden.state == "broken" and "CUDA_VISIBLE_DEVICES" in hidden.fix


def test_no_driver(make_machine, card) -> None:
    assert driver(make_machine({}, NO_DRIVER)).state == "absent"
    check = driver(make_machine(card, NO_DRIVER))
    assert check.state == "missing" and "ubuntu-drivers install" in check.fix
    check = driver(make_machine({**card, "proc/driver/nvidia/version": VERSION}, NO_DRIVER))
    assert check.state == "broken" and "kernel module is loaded" in check.found


def test_no_driver_in_a_container(make_machine, card) -> None:
    check = driver(make_machine({**card, ".dockerenv": ""}, NO_DRIVER))
    assert check.state == "missing" and "--gpus all" in check.fix


def test_no_driver_in_a_jetsons_container(make_machine, orin) -> None:
    check = driver(make_machine({**orin, ".dockerenv": ""}, NO_DRIVER))
    assert check.state == "missing" and "--runtime nvidia" in check.fix


@pytest.mark.parametrize(
    ("tried", "version", "state", "fix"),
    [
        (Attempt("x"), "2026.1", "ok", None),
        (Attempt("x"), "2022.1", "broken", "pip install 'pycuda>=2024.1'"),
        (Attempt(error="No module named 'pycuda'", missing="pycuda"), "", "missing", "pip install 'pycuda>=2024.1'"),
        (Attempt(error="libcuda.so.1: cannot open"), "2026.1", "broken", "see the line nvidia"),
        (Attempt(error="libcurand.so.10: cannot open"), "2026.1", "broken", "--no-cache-dir"),
    ],
)
def test_pycuda(make_machine, gpu, tried: Attempt, version: str, state: str, fix: str | None) -> None:
    packages = {"pycuda": version} if version else {}
    check = pycuda(make_machine({}, {"pycuda.driver": tried, **gpu("sm_90")}, packages=packages))
    assert check.state == state and (check.fix is None if fix is None else fix in check.fix)


def test_pycuda_without_a_gpu_is_not_needed(make_machine) -> None:
    assert pycuda(make_machine(packages={"pycuda": "2026.1"})).state == "absent"


def test_how_pycuda_is_built(make_machine, orin) -> None:
    assert how_to_build(make_machine()).startswith("sudo apt install nvidia-cuda-toolkit g++ ")
    assert how_to_build(make_machine(orin)).startswith("sudo apt install nvidia-jetpack g++ ")
    toolkit = make_machine({"usr/local/cuda/bin/nvcc": ""}, environment={"PATH": "/usr/bin"})
    assert how_to_build(toolkit) == "PATH=/usr/local/cuda/bin:$PATH pip install 'pycuda>=2024.1'"
    on_path = make_machine({"usr/local/cuda/bin/nvcc": ""}, environment={"PATH": "/usr/bin:/usr/local/cuda/bin"})
    assert how_to_build(on_path) == "pip install 'pycuda>=2024.1'"
